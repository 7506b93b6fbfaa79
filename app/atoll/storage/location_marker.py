"""The object that marks a bucket and path as those of one location.

The configuration does not show whether two endpoints are one store. Two locations that share their
objects lose them: there is only one copy, and an object that one location deletes is missing at the
other. So the first writing probe stores the location's name, and a location that finds another name
neither writes nor deletes.
"""

from __future__ import annotations

import json

from atoll.storage.base import ObjectStore
from atoll.storage.errors import InvalidStoreResponse, LocationMismatch, ObjectMissing

MARKER_KEY = "_location"
# The number of bytes that are read of it.
READ_MAXIMUM = 4096


def write_marker(location: str) -> bytes:
    """Return the content of a location's marker."""
    return f"{json.dumps({'location': location})}\n".encode()


def parse_marker(data: bytes, location: str) -> str:
    """Return the location that a marker names.

    Raises:
        InvalidStoreResponse: the object is not a marker.
    """
    try:
        owner = json.loads(data)["location"]
    except (ValueError, TypeError, KeyError):
        owner = None
    if not isinstance(owner, str):
        raise InvalidStoreResponse(location, f"its object '{MARKER_KEY}' does not name a location")
    return owner


def require_own(store: ObjectStore) -> None:
    """Check the marker of a store, for commands that delete objects without a probe.

    Raises:
        LocationMismatch: the marker names another location.
    """
    try:
        data = b"".join(store.read(MARKER_KEY))
    except ObjectMissing:
        return
    owner = parse_marker(data[:READ_MAXIMUM], store.location)
    if owner != store.location:
        raise LocationMismatch(store.location, owner, MARKER_KEY)
