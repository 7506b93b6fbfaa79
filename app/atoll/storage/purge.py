"""Empty the store of a location that is gone: all below its path, and parts of objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice

from atoll.config.stores import StoreSettings
from atoll.errors import UserError
from atoll.storage.base import ObjectStore, StoredObject

# Objects that are listed together, and deletions that are under way together: S3's dialects do not
# agree on how to delete several at once.
_BATCH = 1000
_AT_ONCE = 16
# Clocks of stores may be ahead.
_LATER = timedelta(days=1)


class PlaceShared(UserError):
    """Objects of others are, or may be, among those of the location; the text names whose."""


def require_own_place(
    location: str, settings: StoreSettings, others: Mapping[str, StoreSettings]
) -> None:
    """Raise PlaceShared unless all objects below the path of SETTINGS are LOCATION's alone.

    A bucket counts as the same if its name is, and the service or the user. OTHERS are the settings
    of the other locations.
    """
    if settings.root and not settings.root.endswith("/"):
        raise PlaceShared(
            f"all that begins with '{settings.root}' would be deleted, also what is not of"
            f" '{location}': its storage_path does not end with a slash"
        )
    sharing = [
        name
        for name, other in others.items()
        if _same_bucket(settings, other) and other.root.startswith(settings.root)
    ]
    if sharing:
        raise PlaceShared(
            f"the bucket and path of '{location}' are also those of {', '.join(sharing)}, which"
            " would lose its objects"
        )


def count_objects(store: ObjectStore) -> tuple[int, int]:
    """Return how many objects are there, and their bytes. Raises StoreUnavailable."""
    objects = size = 0
    for stored in store.list_objects(""):
        objects += 1
        size += stored.size
    return objects, size


def delete_objects(store: ObjectStore, limit: int | None = None) -> Iterator[list[StoredObject]]:
    """Delete all objects that are there, or the first LIMIT of them; yield what went together.

    Raises StoreUnavailable, after which it can be called again.
    """
    listed = islice(store.list_objects(""), limit)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while batch := list(islice(listed, _BATCH)):
            for _ in pool.map(store.delete, [stored.key for stored in batch]):
                continue
            yield batch


def throw_parts_away(store: ObjectStore) -> int:
    """Throw away all parts of unfinished objects; return of how many. Raises StoreUnavailable."""
    return store.abort_abandoned_parts(datetime.now(UTC) + _LATER, ())


def _same_bucket(one: StoreSettings, other: StoreSettings) -> bool:
    service, user, bucket = one.place
    its_service, its_user, its_bucket = other.place
    return bucket == its_bucket and (
        service.rstrip("/") == its_service.rstrip("/") or (user != "" and user == its_user)
    )
