"""The source of a copy, and the control of a copy by its worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from atoll.names import Digest
from atoll.storage.base import ObjectStore, blob_key
from atoll.storage.errors import NoHealthyStore, StoreError


class WrongContent(Exception):
    """The bytes read from `sources` do not match the digest; `reason` describes the difference."""

    def __init__(
        self, digest: Digest, sources: list[str], reason: str = "the digest differs"
    ) -> None:
        super().__init__(f"wrong bytes for {digest} from {', '.join(sources)}: {reason}")
        self.sources = sources
        self.reason = reason


class CopyControl(Protocol):
    """Control of a copy by its worker."""

    def check(self) -> None:
        """Raise if the copy is to stop; called between parts."""

    def throttle(self, size: int) -> None:
        """Wait until the rate limit permits more bytes; raises like `check`."""

    def record_upload(self, upload_id: str | None) -> None:
        """Record the multipart upload in progress, None if there is none."""


@dataclass
class Source:
    """A blob and the locations to read it from, best first; `used` are those that were read."""

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
        """Read a range into a buffer, from the first location that responds.

        Args:
            start: the first byte.
            end: the byte after the last one.
            buffer: receives the bytes.

        Raises:
            WrongContent: the object is shorter.
            StoreError: the error of the last location.
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
        """Raise WrongContent unless the hash of the bytes is the blob's digest."""
        if hexadecimal != self.digest.hex:
            raise WrongContent(self.digest, sorted(self.used))


def _fill(buffer: bytearray, store: ObjectStore, key: str, start: int, end: int) -> int:
    """Read into a buffer and return the number of received bytes, at most the requested ones."""
    length = 0
    for piece in store.read(key, start, end):
        following = min(length + len(piece), end - start)
        buffer[length:following] = piece[: following - length]
        length = following
    return length
