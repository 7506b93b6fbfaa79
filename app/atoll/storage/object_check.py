"""Check one object: its existence, its size and its digest."""

from __future__ import annotations

from enum import StrEnum

from atoll.names import Digest
from atoll.rate_limit import RateLimiter
from atoll.storage.base import ObjectStore, blob_key
from atoll.storage.errors import ObjectMissing


class Defect(StrEnum):
    """A defect of an object."""

    MISSING = "missing"
    WRONG_SIZE = "wrong size"
    WRONG_DIGEST = "wrong digest"


def inspect(
    store: ObjectStore, digest: Digest, size: int, *, full: bool, limit: RateLimiter
) -> Defect | None:
    """Return the defect of a blob's object, or None.

    Args:
        store: the store to check.
        digest: the blob's digest.
        size: the blob's size in bytes.
        full: read and hash the object, instead of checking only its size.
        limit: the maximum read rate.

    Raises:
        StoreUnavailable: the object could not be checked.
    """
    try:
        if _size(store, blob_key(digest)) != size:
            return Defect.WRONG_SIZE
        if not full:
            return None
        hasher = digest.hasher()
        for piece in store.read(blob_key(digest)):
            limit.take(len(piece))
            hasher.update(piece)
    except ObjectMissing:
        return Defect.MISSING
    return None if hasher.hexdigest() == digest.hex else Defect.WRONG_DIGEST


def _size(store: ObjectStore, key: str) -> int:
    """Return the object's size.

    S3 has the same answer to a HEAD request for a missing object and for a missing bucket. Only the
    answer to a GET request distinguishes them.
    """
    try:
        return store.size(key)
    except ObjectMissing:
        for _ in store.read(key, 0, 1):
            break
    return store.size(key)
