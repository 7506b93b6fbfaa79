"""Delete all objects and unfinished uploads of a removed location from its store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice

from atoll.config.stores import StoreSettings
from atoll.errors import UserError
from atoll.storage.base import ObjectStore, StoredObject

# Objects in a batch, and concurrent deletions: S3 services disagree on how to delete several
# objects with one request.
_BATCH = 1000
_CONCURRENT_DELETIONS = 16
# The clock of a store may be ahead.
_CLOCK_SKEW = timedelta(days=1)


class StorePathShared(UserError):
    """The location shares its bucket and path, or may do so, with others; the text names them."""


def require_unshared_path(
    location: str, settings: StoreSettings, others: Mapping[str, StoreSettings]
) -> None:
    """Check that no other location has objects below the path of a location.

    Two buckets count as the same if their names are equal, and the services or the users.

    Args:
        location: the location.
        settings: its settings.
        others: the settings of the other locations.

    Raises:
        StorePathShared: another location may have objects there.
    """
    if settings.root and not settings.root.endswith("/"):
        raise StorePathShared(
            f"all that begins with '{settings.root}' would be deleted, also what is not of"
            f" '{location}': its storage_path does not end with a slash"
        )
    sharing = [
        name
        for name, other in others.items()
        if _same_bucket(settings, other) and other.root.startswith(settings.root)
    ]
    if sharing:
        raise StorePathShared(
            f"the bucket and path of '{location}' are also those of {', '.join(sharing)}, which"
            " would lose its objects"
        )


def count_objects(store: ObjectStore) -> tuple[int, int]:
    """Return the number of objects and their size in bytes."""
    objects = size = 0
    for stored in store.list_objects(""):
        objects += 1
        size += stored.size
    return objects, size


def delete_objects(store: ObjectStore, limit: int | None = None) -> Iterator[list[StoredObject]]:
    """Delete all objects, or the first `limit` of them, and yield the objects of each batch.

    Raises:
        StoreUnavailable: the deletion is incomplete and can be repeated.
    """
    listed = islice(store.list_objects(""), limit)
    with ThreadPoolExecutor(_CONCURRENT_DELETIONS) as pool:
        while batch := list(islice(listed, _BATCH)):
            for _ in pool.map(store.delete, [stored.key for stored in batch]):
                continue
            yield batch


def abort_all_uploads(store: ObjectStore) -> int:
    """Abort all multipart uploads, and return their number."""
    return store.abort_abandoned_parts(datetime.now(UTC) + _CLOCK_SKEW, ())


def _same_bucket(one: StoreSettings, other: StoreSettings) -> bool:
    service, user, bucket = one.bucket_identity
    its_service, its_user, its_bucket = other.bucket_identity
    return bucket == its_bucket and (
        service.rstrip("/") == its_service.rstrip("/") or (user != "" and user == its_user)
    )
