"""Compare the objects of a store with the database, both sorted by content address.

An object without a row is an orphan once it is older than any upload that may refer to it. A
placement without an object is verified again, because the store's list may be older than the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any
from uuid import UUID

from atoll.db.pool import Database
from atoll.names import Digest, InvalidDigest
from atoll.placement.checks.verify import PlacementCheck
from atoll.placement.content_deletions import ContentDeletions
from atoll.storage.base import ObjectStore, StoredObject, blob_key

# Rows that one statement reads.
_PAGE = 5000
_ALGORITHMS = ("sha256", "sha512")
_UPLOADS = "uploads/"

# Blobs that are placed at the location, whose object there is queued for deletion, or whose
# placement an unfinished removal of the location can restore.
_ROWS = """
SELECT s.content_checksum, s.image_size, p.id, p.state <> 'good', p.verified_at,
       r.storage_id IS NOT NULL
FROM imagestorage s
LEFT JOIN imagestorageplacement p ON p.storage_id = s.id AND p.location_id = %(location_id)s
LEFT JOIN objectdeletion d ON d.storage_id = s.id AND d.location_id = %(location_id)s
LEFT JOIN removedplacement r ON r.storage_id = s.id AND r.location_id = %(location_id)s
WHERE s.content_checksum COLLATE "C" > %(after)s
  AND (p.id IS NOT NULL OR d.id IS NOT NULL OR r.storage_id IS NOT NULL)
ORDER BY s.content_checksum COLLATE "C" LIMIT %(page)s
"""

_LOCATION_ID = "SELECT id FROM imagestoragelocation WHERE name = %(location)s"
_KNOWN_UPLOADS = "SELECT uuid FROM blobupload WHERE uuid = ANY(%(uuids)s)"


@dataclass(frozen=True)
class Orphan:
    """An object without a row; its size is in bytes."""

    key: str
    size: int


@dataclass(frozen=True)
class RecentObject:
    """An object without a row that may belong to a push in progress."""


@dataclass(frozen=True)
class UnknownObject:
    """A foreign object: its key is not that of a blob."""

    key: str


@dataclass(frozen=True)
class PendingDeletion:
    """An object that waits to be deleted."""


@dataclass(frozen=True)
class RestorableObject:
    """An object whose placement an unfinished removal of the location can restore."""


# A `PlacementCheck` is either consistent with its object or to be verified again.
Entry = PlacementCheck | Orphan | RecentObject | UnknownObject | PendingDeletion | RestorableObject


@dataclass(frozen=True)
class _Row:
    checksum: str
    size: int
    placement: PlacementCheck | None
    restorable: bool = False


class Inventory:
    """The inventory of one location.

    Args:
        database: where the placements are.
        store: the location's store.
        before: objects without a row that were written earlier are orphans.
    """

    def __init__(self, database: Database, store: ObjectStore, before: datetime) -> None:
        self._database = database
        self._store = store
        self._before = before

    def entries(self) -> Iterator[tuple[Entry, bool]]:
        """Yield each entry, and whether it is consistent.

        Raises:
            StoreUnavailable: the list is incomplete.
            DatabaseUnavailable: likewise.
        """
        yield from self._blobs()
        yield from self._chunks()

    def _blobs(self) -> Iterator[tuple[Entry, bool]]:
        rows = self._rows()
        row = next(rows, None)
        listed = (self._store.list_objects(f"{algorithm}/") for algorithm in _ALGORITHMS)
        for stored in chain.from_iterable(listed):
            digest = _digest(stored.key)
            if digest is None:
                yield UnknownObject(stored.key), True
                continue
            while row is not None and row.checksum < str(digest):
                yield from _not_listed(row)
                row = next(rows, None)
            if row is None or row.checksum != str(digest):
                yield self._without_row(stored)
            else:
                yield _listed(row, stored)
                row = next(rows, None)
        while row is not None:
            yield from _not_listed(row)
            row = next(rows, None)

    def _chunks(self) -> Iterator[tuple[Entry, bool]]:
        """Yield chunks of uploads that do not exist any more."""
        listed = self._store.list_objects(_UPLOADS)
        while page := list(islice(listed, _PAGE)):
            owners = {stored.key: _upload(stored.key) for stored in page}
            uuids = [uuid for uuid in owners.values() if uuid is not None]
            known = {row[0] for row in self._database.read(_KNOWN_UPLOADS, {"uuids": uuids})}
            for stored in page:
                if owners[stored.key] is None:
                    yield UnknownObject(stored.key), True
                elif owners[stored.key] not in known:
                    yield self._without_row(stored)

    def _without_row(self, stored: StoredObject) -> tuple[Entry, bool]:
        if stored.modified_at >= self._before:
            return RecentObject(), True
        return Orphan(stored.key, stored.size), False

    def _rows(self) -> Iterator[_Row]:
        location = self._store.location
        (location_id,) = self._database.read(_LOCATION_ID, {"location": location})[0]
        parameters = {"location_id": location_id, "page": _PAGE}
        after = ""
        while rows := self._database.read(_ROWS, {**parameters, "after": after}):
            for row in rows:
                yield _row(location, row)
            after = rows[-1][0]


def delete_orphan(orphan: Orphan, store: ObjectStore, content: ContentDeletions) -> bool:
    """Delete an orphan unless something refers to it by now, and return whether it was deleted.

    Raises:
        StoreError: the object may not be deleted.
    """
    digest = _digest(orphan.key)
    if digest is not None:
        return content.discard(digest, store.location, None)
    # The key of a chunk belongs to one upload, which does not exist any more.
    store.delete(orphan.key)
    return True


def now() -> datetime:
    """Return the current time, to compare with the stores' times."""
    return datetime.now(UTC)


def _row(location: str, row: Any) -> _Row:
    checksum, size, placement_id, quarantined, verified_at, restorable = row
    if placement_id is None:
        return _Row(checksum, size, None, restorable)
    digest = Digest.parse(checksum)
    return _Row(
        checksum,
        size,
        PlacementCheck(placement_id, location, digest, size, quarantined, verified_at),
    )


def _listed(row: _Row, stored: StoredObject) -> tuple[Entry, bool]:
    """Return the entry of a row and its object. Only a verification ends a quarantine."""
    if row.placement is None:
        return (RestorableObject() if row.restorable else PendingDeletion()), True
    return row.placement, stored.size == row.size and not row.placement.quarantined


def _not_listed(row: _Row) -> Iterator[tuple[Entry, bool]]:
    if row.placement is not None:
        yield row.placement, False


def _digest(key: str) -> Digest | None:
    """Return the digest of the blob with this key, None if it is not the key of a blob."""
    algorithm, _, rest = key.partition("/")
    try:
        digest = Digest.parse(f"{algorithm}:{rest.rpartition('/')[2]}")
    except InvalidDigest:
        return None
    return digest if blob_key(digest) == key else None


def _upload(key: str) -> UUID | None:
    """Return the upload of the chunk with this key, None if it is not the key of a chunk."""
    try:
        return UUID(key.removeprefix(_UPLOADS).partition("/")[0])
    except ValueError:
        return None
