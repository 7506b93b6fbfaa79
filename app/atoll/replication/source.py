"""Where a blob's bytes come from, and what a copy asks of whoever ordered it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from atoll.names import Digest
from atoll.storage.base import ObjectStore, blob_key
from atoll.storage.errors import NoHealthyStore, StoreError


class WrongContent(Exception):
    """The bytes read from SOURCES do not match the digest; REASON says how they differ."""

    def __init__(
        self, digest: Digest, sources: list[str], reason: str = "the digest differs"
    ) -> None:
        super().__init__(f"wrong bytes for {digest} from {', '.join(sources)}: {reason}")
        self.sources = sources
        self.reason = reason


class Hold(Protocol):
    """What a copy asks of whoever ordered it."""

    def check(self) -> None:
        """Raise if the copy is to stop; asked between parts."""

    def pace(self, size: int) -> None:
        """Wait until SIZE more bytes may be written. May raise as `check` does."""

    def remember(self, upload_id: str | None) -> None:
        """Note the upload in parts that is under way, or that there is none (any more)."""


@dataclass
class Source:
    """One blob, and the locations to read it from, best first. USED are those that it came from."""

    digest: Digest
    size: int
    locations: list[str]
    stores: Mapping[str, ObjectStore]
    used: set[str] = field(default_factory=set)

    @property
    def key(self) -> str:
        """The object's key, the same at each location."""
        return blob_key(self.digest)

    def read(self, start: int, end: int, buffer: bytearray) -> memoryview:
        """Read the bytes from START up to END into BUFFER, from the first location that serves.

        Raises WrongContent where that has fewer, or the last location's StoreError.
        """
        last: StoreError | None = None
        for location in self.locations:
            try:
                length = _fill(buffer, self.stores[location], self.key, start, end)
            except StoreError as error:
                last = error
                continue
            if length != end - start:
                reason = f"{length} bytes instead of {end - start} from byte {start}"
                raise WrongContent(self.digest, [location], reason)
            self.used.add(location)
            return memoryview(buffer)[:length]
        raise last or NoHealthyStore(self.locations)

    def verify(self, hexadecimal: str) -> None:
        """Raise WrongContent unless what was read has the blob's digest."""
        if hexadecimal != self.digest.hex:
            raise WrongContent(self.digest, sorted(self.used))


def _fill(buffer: bytearray, store: ObjectStore, key: str, start: int, end: int) -> int:
    """Read into BUFFER and return how many bytes came, at most those that were asked for."""
    length = 0
    for piece in store.read(key, start, end):
        following = min(length + len(piece), end - start)
        buffer[length:following] = piece[: following - length]
        length = following
    return length
