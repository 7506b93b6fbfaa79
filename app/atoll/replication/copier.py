"""Copy one blob to one store: read from the nearest source, hash, and only then make it visible.

What fits into one part is read and put by the thread that asks. What is larger goes in parts, some
of them being read and some being written at any moment, unless the store itself can copy it; it is
read and hashed then all the same. Memory: `MEMORY_SMALL` and `MEMORY_LARGE`, however many threads
copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from atoll.names import Digest
from atoll.replication.buffer_pool import Memory
from atoll.replication.multipart_copy import IN_FLIGHT, READ_AHEAD, PartsCopy, PartsReader
from atoll.replication.source import Hold, Source
from atoll.storage.base import ObjectStore
from atoll.storage.multipart import MEBIBYTE, PART_MINIMUM

# Up to here a blob is written with one request.
SMALL_MAXIMUM = PART_MINIMUM
# Bytes. The second is eight parts.
MEMORY_SMALL = 24 * MEBIBYTE
MEMORY_LARGE = 64 * MEBIBYTE


class Copier:
    """Copies blobs to TARGET; safe for any thread."""

    def __init__(self, stores: Mapping[str, ObjectStore], target: str) -> None:
        self._stores = stores
        self._target = stores[target]
        self._small = Memory(MEMORY_SMALL, PART_MINIMUM)
        self._large = Memory(MEMORY_LARGE, PART_MINIMUM)
        # As many threads as there can be buffers, and those of one copy at least.
        threads = max(MEMORY_LARGE // PART_MINIMUM, READ_AHEAD + IN_FLIGHT)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="part")

    def copy(
        self, digest: Digest, size: int, sources: list[str], hold: Hold, upload_id: str | None
    ) -> set[str]:
        """Copy a blob of SIZE bytes from SOURCES, best first, and verify it on the way.

        UPLOAD_ID is what a predecessor's hold remembered. Raises WrongContent, StoreError, or what
        HOLD raises; the object is not visible then.

        Returns:
            The locations from which the bytes came.
        """
        source = Source(digest, size, sources, self._stores)
        if size <= SMALL_MAXIMUM:
            self._copy_at_once(source, hold)
        elif self._target.can_copy_from(self._stores[sources[0]]):
            self._copy_within(source, hold)
        else:
            PartsCopy(source, self._target, self._large, self._executor, hold).run(upload_id)
        return source.used

    def _copy_at_once(self, source: Source, hold: Hold) -> None:
        hold.pace(source.size)
        buffer = self._small.take(source.size, wait=True) or bytearray()
        try:
            data = source.read(0, source.size, buffer) if source.size else memoryview(b"")
            hasher = source.digest.hasher()
            hasher.update(data)
            source.verify(hasher.hexdigest())
            hold.check()
            self._target.put(source.key, data, source.size)
        finally:
            self._small.give(buffer)

    def _copy_within(self, source: Source, hold: Hold) -> None:
        """Let the store copy from the best source, after all its bytes were read and hashed."""
        best = source.locations[0]
        alone = Source(source.digest, source.size, [best], self._stores, source.used)
        reading = PartsReader(alone, self._large, self._executor, hold)
        self._target.copy_from(self._stores[best], source.key, source.size, reading.verify)
