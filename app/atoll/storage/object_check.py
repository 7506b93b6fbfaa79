"""Look at one object: whether it is there, has the right size, and is what its digest says."""

from __future__ import annotations

from enum import StrEnum

from atoll.names import Digest
from atoll.rate_limit import RateLimiter
from atoll.storage.base import ObjectStore, blob_key
from atoll.storage.errors import ObjectMissing


class Defect(StrEnum):
    """What can be wrong with an object."""

    MISSING = "missing"
    WRONG_SIZE = "wrong size"
    WRONG_DIGEST = "wrong digest"


def inspect(
    store: ObjectStore, digest: Digest, size: int, *, full: bool, limit: RateLimiter
) -> Defect | None:
    """Return what is wrong with a blob of SIZE bytes in STORE, or None.

    With FULL its bytes are read and hashed, a piece at a time, within LIMIT.
    Raises StoreUnavailable, which says nothing of the object.
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
    """Return the object's size. Raises ObjectMissing, or StoreUnavailable.

    To a question for the size, S3 answers the same for an object and for a whole bucket that is not
    there; only to a GET does it tell which.
    """
    try:
        return store.size(key)
    except ObjectMissing:
        for _ in store.read(key, 0, 1):
            break
    return store.size(key)
