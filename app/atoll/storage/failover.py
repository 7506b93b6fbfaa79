"""Read an object from several stores, and continue at the next store if one fails."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from contextlib import closing

from atoll.storage.abandonment import read_or_abandon
from atoll.storage.base import ObjectStore
from atoll.storage.errors import InvalidStoreResponse, ObjectTooShort, StoreError
from atoll.storage.health import StoreHealth

log = logging.getLogger(__name__)


def read_from_any(
    stores: Mapping[str, ObjectStore],
    health: StoreHealth,
    locations: list[str],
    key: str,
    *,
    start: int,
    end: int,
) -> Generator[bytes, None, None]:
    """Yield the bytes of an object from `start` up to, not including, `end`.

    The object is the same at each location, so bytes that one location sent are not read again. A
    store that hangs is abandoned.

    Args:
        stores: all stores by location.
        health: the state of the stores.
        locations: the locations to read from, best first.
        key: the object's key.
        start: the first byte.
        end: the byte after the last one.

    Raises:
        StoreError: the last location failed; ObjectTooShort if its object has fewer bytes.
    """
    position = start
    for number, location in enumerate(locations, start=1):
        last = number == len(locations)
        try:
            reading = read_or_abandon(health, stores[location], key, position, end, last=last)
            with closing(reading) as pieces:
                for piece in pieces:
                    if position + len(piece) > end:
                        raise InvalidStoreResponse(location, "it sent more bytes than requested")
                    position += len(piece)
                    yield piece
            if position < end:
                raise ObjectTooShort(location, key)
        except StoreError as error:
            if last:
                raise
            log.warning(
                "read continued at another location", extra={"key": key, "cause": str(error)}
            )
        else:
            return
