"""Copy one blob to one store: read from the nearest source, hash, and only then make it visible.

Ranges are read ahead in parallel, each from the first source that has it, hashed in order and
written in parts. Memory: at most `READ_AHEAD` ranges and what `PartsWriter` holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from atoll.names import Digest
from atoll.storage.errors import NoHealthyStore, StoreError
from atoll.storage.interface import ObjectStore, blob_key
from atoll.storage.multipart import PART_MINIMUM, SINGLE_MAXIMUM, PartsWriter

READ_AHEAD = 3
_RANGE = 2 * PART_MINIMUM


class WrongContent(Exception):
    """What the sources hold is not what the digest says. Of one source, it is the culprit."""

    def __init__(self, digest: Digest, sources: list[str]) -> None:
        super().__init__(f"{digest} has other bytes at {', '.join(sources)}")
        self.sources = sources


class Copier:
    """Copies blobs to TARGET."""

    def __init__(self, stores: Mapping[str, ObjectStore], target: str) -> None:
        self._stores = stores
        self._target = stores[target]

    def copy(
        self,
        digest: Digest,
        size: int,
        sources: list[str],
        still_ours: Callable[[], None],
        on_upload: Callable[[str], None],
    ) -> None:
        """Copy a blob of SIZE bytes from SOURCES, best first, and verify it on the way.

        STILL_OURS is called between ranges and raises to stop; ON_UPLOAD is told the id of a
        multipart upload as soon as there is one. Raises WrongContent, StoreError, or what
        STILL_OURS raises; the object is not visible then.
        """
        key = blob_key(digest)
        hasher = digest.hasher()
        used: set[str] = set()
        told = False
        with PartsWriter(self._target, key, size) as writer:
            for data in self._ranges(key, size, sources, used):
                still_ours()
                hasher.update(data)
                writer.write(data)
                if writer.upload_id is not None and not told:
                    on_upload(writer.upload_id)
                    told = True
            if hasher.hexdigest() != digest.hex:
                raise WrongContent(digest, sorted(used))
            still_ours()
            writer.finish()

    def abort(self, digest: Digest, upload_id: str) -> None:
        """Throw away the parts of an attempt that died."""
        self._target.abort_parts(blob_key(digest), upload_id)

    def _ranges(self, key: str, size: int, sources: list[str], used: set[str]) -> Iterator[bytes]:
        """Yield the object's bytes in order, while the ranges to come are being read."""
        step = SINGLE_MAXIMUM if size <= SINGLE_MAXIMUM else _RANGE
        starts = deque(range(0, size, step))
        pending: deque[Future[bytes]] = deque()
        with ThreadPoolExecutor(READ_AHEAD, thread_name_prefix="range") as executor:
            try:
                while starts or pending:
                    while starts and len(pending) < READ_AHEAD:
                        start = starts.popleft()
                        end = min(start + step, size)
                        pending.append(executor.submit(self._read, key, start, end, sources, used))
                    yield pending.popleft().result()
            finally:
                executor.shutdown(wait=True, cancel_futures=True)

    def _read(self, key: str, start: int, end: int, sources: list[str], used: set[str]) -> bytes:
        """Read one range from the first source that has all of it."""
        last: StoreError | None = None
        for source in sources:
            try:
                data = b"".join(self._stores[source].read(key, start, end))
            except StoreError as error:
                last = error
                continue
            used.add(source)
            return data
        raise last or NoHealthyStore(sources)
