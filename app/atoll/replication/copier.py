"""Copy one blob to one store: read from the nearest source, hash, and only then make it visible.

Small blobs are read and written by the calling thread. Large ones are copied in parts, several of
which are read and written concurrently, unless the store itself can copy the object; the worker
reads and hashes it in that case as well. Memory is bounded by `SMALL_POOL_SIZE` and
`LARGE_POOL_SIZE`, independently of the number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from atoll.names import Digest
from atoll.replication.buffer_pool import BufferPool
from atoll.replication.multipart_copy import IN_FLIGHT, READ_AHEAD, PartsCopy, PartsReader
from atoll.replication.source import CopyControl, Source
from atoll.storage.base import ObjectStore
from atoll.storage.multipart import MEBIBYTE, PART_MINIMUM

# The most bytes of a blob that is written with one request.
SMALL_MAXIMUM = PART_MINIMUM
# Bytes of buffers; the second are eight parts.
SMALL_POOL_SIZE = 24 * MEBIBYTE
LARGE_POOL_SIZE = 64 * MEBIBYTE


class Copier:
    """Copies blobs to one location. Thread-safe."""

    def __init__(self, stores: Mapping[str, ObjectStore], target: str) -> None:
        self._stores = stores
        self._target = stores[target]
        self._small = BufferPool(SMALL_POOL_SIZE, PART_MINIMUM)
        self._large = BufferPool(LARGE_POOL_SIZE, PART_MINIMUM)
        # As many threads as there can be buffers, and at least those of one copy.
        threads = max(LARGE_POOL_SIZE // PART_MINIMUM, READ_AHEAD + IN_FLIGHT)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="part")

    def copy(
        self,
        digest: Digest,
        size: int,
        sources: list[str],
        control: CopyControl,
        upload_id: str | None,
    ) -> set[str]:
        """Copy and verify a blob. The object is visible only after success.

        Args:
            digest: the blob's digest.
            size: the blob's size in bytes.
            sources: locations to read from, best first.
            control: controls the copy.
            upload_id: the multipart upload of an earlier attempt, None if there is none.

        Returns:
            The locations from which bytes were read.

        Raises:
            WrongContent: the sources have other bytes.
            StoreError: the blob could not be read or written.
        """
        source = Source(digest, size, sources, self._stores)
        if size <= SMALL_MAXIMUM:
            self._copy_small(source, control)
        elif self._target.can_copy_from(self._stores[sources[0]]):
            self._copy_in_store(source, control)
        else:
            PartsCopy(source, self._target, self._large, self._executor, control).run(upload_id)
        return source.used

    def _copy_small(self, source: Source, control: CopyControl) -> None:
        control.throttle(source.size)
        buffer = self._small.acquire(source.size, wait=True) or bytearray()
        try:
            data = source.read(0, source.size, buffer) if source.size else memoryview(b"")
            hasher = source.digest.hasher()
            hasher.update(data)
            source.verify(hasher.hexdigest())
            control.check()
            self._target.put(source.key, data, source.size)
        finally:
            self._small.release(buffer)

    def _copy_in_store(self, source: Source, control: CopyControl) -> None:
        """Have the store copy the object from the best source after verifying all its bytes."""
        best = source.locations[0]
        alone = Source(source.digest, source.size, [best], self._stores, source.used)
        reading = PartsReader(alone, self._large, self._executor, control)
        self._target.copy_from(self._stores[best], source.key, source.size, reading.verify)
