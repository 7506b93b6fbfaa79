"""Read one object that several stores have: where one fails, the next goes on from there."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from atoll.storage.errors import ObjectTooShort, StoreError
from atoll.storage.interface import ObjectStore

log = logging.getLogger(__name__)


def read_from_any(
    stores: Mapping[str, ObjectStore], locations: list[str], key: str, start: int, end: int
) -> Iterator[bytes]:
    """Yield KEY's bytes from START up to END (not included), from LOCATIONS, best first.

    The object is the same at each, so what one has sent needs not be sent again. Raises the last
    location's StoreError; ObjectTooShort where that has fewer bytes.
    """
    position = start
    for number, location in enumerate(locations, start=1):
        try:
            for piece in stores[location].read(key, position, end):
                position += len(piece)
                yield piece
            if position < end:
                raise ObjectTooShort(location, key)
        except StoreError as error:
            if number == len(locations):
                raise
            log.warning("read goes on elsewhere", extra={"key": key, "cause": str(error)})
        else:
            return
