"""The object that marks a bucket and path as those of one location.

A configuration cannot show that two endpoints are one store. Two locations that share their objects
lose them: a copy is no second copy, and an object that one of them deletes is gone for the other.
So the first probe that writes leaves the location's name in the store, and a location that finds
another name there neither writes nor deletes.
"""

from __future__ import annotations

import json

from atoll.storage.base import ObjectStore
from atoll.storage.errors import ObjectMissing, StoreMisbehaves, StoreOfOtherLocation

MARKER_KEY = "_location"
# No more bytes of it are read.
READ_MAXIMUM = 4096


def write_marker(location: str) -> bytes:
    """Return the content of the marker of LOCATION."""
    return f"{json.dumps({'location': location})}\n".encode()


def parse_marker(data: bytes, location: str) -> str:
    """Return the location that a marker names. Raises StoreMisbehaves, of LOCATION's store."""
    try:
        owner = json.loads(data)["location"]
    except (ValueError, TypeError, KeyError):
        owner = None
    if not isinstance(owner, str):
        raise StoreMisbehaves(location, f"its object '{MARKER_KEY}' does not name a location")
    return owner


def require_own(store: ObjectStore) -> None:
    """Raise StoreOfOtherLocation if the store is marked as that of another location.

    For commands that delete objects without a probe before. Raises StoreUnavailable, too.
    """
    try:
        data = b"".join(store.read(MARKER_KEY))
    except ObjectMissing:
        return
    owner = parse_marker(data[:READ_MAXIMUM], store.location)
    if owner != store.location:
        raise StoreOfOtherLocation(store.location, owner, MARKER_KEY)
