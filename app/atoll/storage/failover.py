"""Read one object that several stores have, and continue at the next store where one fails."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from contextlib import closing

from atoll.storage.abandonment import read_or_abandon
from atoll.storage.base import ObjectStore
from atoll.storage.errors import ObjectTooShort, StoreError, StoreMisbehaves
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
    """Yield KEY's bytes from START up to END (not included), from LOCATIONS, best first.

    The object is the same at each location, so bytes that one has sent are not read again. A store
    that hangs is abandoned.

    Raises:
        StoreError: the last location's; ObjectTooShort where that has fewer bytes.
    """
    position = start
    for number, location in enumerate(locations, start=1):
        last = number == len(locations)
        try:
            reading = read_or_abandon(health, stores[location], key, position, end, last=last)
            with closing(reading) as pieces:
                for piece in pieces:
                    if position + len(piece) > end:
                        raise StoreMisbehaves(location, "it sent more bytes than were asked for")
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
