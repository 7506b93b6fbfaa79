"""Read one object that several stores have, and continue at the next store where one fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from atoll.storage.errors import ObjectTooShort, StoreError, StoreMisbehaves
from atoll.storage.interface import ObjectStore

log = logging.getLogger(__name__)


def read_from_any(
    stores: Mapping[str, ObjectStore], locations: list[str], key: str, start: int, end: int
) -> Iterator[bytes]:
    """Yield KEY's bytes from START up to END (not included), from LOCATIONS, best first.

    The object is the same at each, so the next store continues where the one before failed. Raises
    the last location's StoreError; ObjectTooShort where that has fewer bytes.
    """
    position = start
    for number, location in enumerate(locations, start=1):
        try:
            for piece in stores[location].read(key, position, end):
                if position + len(piece) > end:
                    raise StoreMisbehaves(location, "it sent more bytes than were asked for")
                position += len(piece)
                yield piece
            if position < end:
                raise ObjectTooShort(location, key)
        except StoreError as error:
            if number == len(locations):
                raise
            log.warning(
                "read continued at another location", extra={"key": key, "cause": str(error)}
            )
        else:
            return
