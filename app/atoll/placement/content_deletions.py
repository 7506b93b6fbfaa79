"""Deletion of objects at content addresses, excluded from concurrent references to them.

A transaction that refers to an object holds the shared advisory lock on its digest. A deleter
announces the deletion in `contentdeletion`, checks under the exclusive lock that nothing refers to
the object, sends the request without holding a lock or a connection, and records the outcome.

`deleted_at` is the latest time at which the object may disappear, so no object written earlier can
be referred to. It is in the future while a deletion is announced and while its outcome is unknown:
a store may execute a request long after the client's time-out, and a paused deleter may send it
late. Until then, the address is not used at that location, and pushes write to another one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID, uuid4

from atoll.db.pool import Database, DatabaseUnavailable
from atoll.names import Digest
from atoll.placement.locks import LOCK_DIGEST
from atoll.placement.placement_cache import PlacementCache
from atoll.placement.placements import QUARANTINE
from atoll.placement.rules import excluded_in
from atoll.storage.base import ObjectStore, blob_key
from atoll.storage.errors import ObjectMissing, StoreError, StoreRefused, StoreUnavailable
from atoll.storage.locations import Locations
from atoll.storage.states import KEPT

log = logging.getLogger(__name__)

# Seconds after an announcement, or after a deletion request without a response, during which the
# object may still disappear. S3 refuses older signed requests.
UNCERTAIN_SECONDS = 900
# Seconds after its announcement during which a deletion is sent; after that it is announced again.
_SEND_SECONDS = 30
# Seconds that a writer waits for a deletion in progress before it uses another location. Most
# deletions take a few milliseconds.
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
# Records that one statement purges.
_PURGE_BATCH = 5000

# A condition: the object that upload `u` wrote may have been deleted, or may still be deleted.
DELETED_SINCE = """EXISTS (
    SELECT FROM contentdeletion c WHERE c.digest = %(digest)s
    AND c.location = %(location)s AND c.deleted_at >= u.trusted_since)"""

# An ended upload and one without a repository refer to nothing. An object whose deletion is queued
# for later counts as in use, because a fail-over may restore its placement until then.
_IN_USE = """(EXISTS (
    SELECT FROM imagestorageplacement p
    JOIN imagestorage s ON s.id = p.storage_id JOIN imagestoragelocation l ON l.id = p.location_id
    WHERE s.content_checksum = %(digest)s AND l.name = %(location)s
) OR EXISTS (
    SELECT FROM removedplacement p
    JOIN imagestorage s ON s.id = p.storage_id JOIN imagestoragelocation l ON l.id = p.location_id
    WHERE s.content_checksum = %(digest)s AND l.name = %(location)s
) OR EXISTS (
    SELECT FROM objectdeletion d
    JOIN imagestorage s ON s.id = d.storage_id JOIN imagestoragelocation l ON l.id = d.location_id
    WHERE s.content_checksum = %(digest)s AND l.name = %(location)s
      AND d.available_at > clock_timestamp()
) OR EXISTS (
    SELECT FROM blobupload
    WHERE first_digest = %(digest)s AND first_location = %(location)s
      AND NOT ended AND repository_id IS NOT NULL AND uuid IS DISTINCT FROM %(uuid)s))"""

# Reuses the record of an earlier deletion with an unknown outcome, so that retries add no rows.
_ANNOUNCE = f"""
WITH repeated AS (
    UPDATE contentdeletion
    SET deleter = %(deleter)s, announced_at = clock_timestamp(),
        deleted_at = clock_timestamp() + make_interval(secs => %(uncertain)s)
    WHERE NOT {_IN_USE} AND ctid = (
        SELECT ctid FROM contentdeletion
        WHERE digest = %(digest)s AND location = %(location)s
          AND unknown_until IS NOT NULL AND deleter IS NULL
        ORDER BY unknown_until DESC LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING deleter
), new AS (
    INSERT INTO contentdeletion (digest, location, deleted_at, deleter)
    SELECT %(digest)s, %(location)s,
           clock_timestamp() + make_interval(secs => %(uncertain)s), %(deleter)s
    WHERE NOT {_IN_USE} AND NOT EXISTS (SELECT FROM repeated)
    RETURNING deleter
)
SELECT deleter FROM repeated UNION ALL SELECT deleter FROM new
"""

_WITHDRAW = """
DELETE FROM contentdeletion WHERE deleter = %(deleter)s AND unknown_until IS NULL;
UPDATE contentdeletion SET deleter = NULL, deleted_at = unknown_until WHERE deleter = %(deleter)s
"""

_CHECK = f"""
{LOCK_DIGEST}
SELECT {_IN_USE}, EXISTS (SELECT FROM contentdeletion WHERE deleter = %(deleter)s)
"""

# Records the outcome and returns whether the announcement was still valid until now. An earlier
# request may be executed although a later one was answered.
_RECORD = """
UPDATE contentdeletion
SET deleter = NULL,
    unknown_until = CASE WHEN %(unknown)s
        THEN clock_timestamp() + make_interval(secs => %(uncertain)s) ELSE unknown_until END,
    deleted_at = CASE WHEN %(unknown)s
        THEN clock_timestamp() + make_interval(secs => %(uncertain)s)
        ELSE greatest(clock_timestamp(), unknown_until) END
WHERE deleter = %(deleter)s
RETURNING announced_at + make_interval(secs => %(uncertain)s) > clock_timestamp()
"""

# Recreates a record that a fail-over lost.
_RECORD_LOST = """
INSERT INTO contentdeletion (digest, location, deleted_at, unknown_until)
SELECT %(digest)s, %(location)s, until, CASE WHEN %(unknown)s THEN until END
FROM (SELECT clock_timestamp() + CASE WHEN %(unknown)s
      THEN make_interval(secs => %(uncertain)s) ELSE interval '0' END AS until) AS recorded
"""

_PLACED = """
SELECT p.id, s.image_size, p.verified_at
FROM imagestorageplacement p JOIN imagestorage s ON s.id = p.storage_id
JOIN imagestoragelocation l ON l.id = p.location_id
WHERE s.content_checksum = %(digest)s AND l.name = %(location)s AND p.state = 'good'
"""

# Earlier versions announce with the end 'infinity' and hold the lock while they delete.
_RENEW_TRUST = f"""
UPDATE contentdeletion
SET deleted_at = clock_timestamp() + make_interval(secs => %(uncertain)s)
WHERE digest = %(digest)s AND location = %(location)s AND deleted_at = 'infinity';
UPDATE blobupload u SET trusted_since = clock_timestamp() WHERE uuid = %(uuid)s
RETURNING {excluded_in("u.repository_id")},
    EXISTS (SELECT FROM contentdeletion c WHERE c.digest = %(digest)s
            AND c.location = %(location)s AND c.deleted_at >= clock_timestamp()),
    EXISTS (SELECT FROM contentdeletion c WHERE c.digest = %(digest)s
            AND c.location = %(location)s AND c.deleter IS NOT NULL
            AND c.deleted_at >= clock_timestamp()
            AND c.announced_at > clock_timestamp() - make_interval(secs => %(send)s))
"""

_PURGE = """
UPDATE contentdeletion SET deleted_at = clock_timestamp()
WHERE deleted_at = 'infinity' AND announced_at < clock_timestamp() - interval '1 hour';
DELETE FROM contentdeletion WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM contentdeletion
    WHERE deleted_at < statement_timestamp() - make_interval(mins => %(minutes)s)
    ORDER BY deleted_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING 1
"""


@dataclass(frozen=True)
class Address:
    """The state of a content address at a location, for an upload.

    Attributes:
        excluded: locations that the upload's repository excludes.
        uncertain: whether an object written there now may still be deleted.
    """

    excluded: tuple[str, ...] = ()
    uncertain: bool = False


class ContentDeletions:
    """Deletes objects at content addresses in all stores.

    Args:
        cache: the cached placements of blobs.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        database: Database,
        locations: Locations,
        *,
        cache: PlacementCache,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._locations = locations
        self._cache = cache
        self._monotonic = monotonic

    def discard(self, digest: Digest, location: str, upload: UUID | None) -> bool:
        """Delete an object unless something refers to it.

        Args:
            digest: the object's digest.
            location: the object's location.
            upload: an upload whose reference to the object is ignored.

        Returns:
            Whether the object was deleted.

        Raises:
            StoreError: the outcome is unknown, or the store is known to be unavailable. The object
                may still exist and may be deleted later.
            DatabaseUnavailable: likewise.
        """
        store = self._locations.stores.get(location)
        if store is None:
            return False
        if not self._locations.health.is_up(location):
            raise StoreUnavailable(location, "it is known to be down")
        while True:
            deleter = uuid4()
            started = self._monotonic()
            parameters: dict[str, object] = {
                "digest": str(digest),
                "location": location,
                "uuid": upload,
                "deleter": deleter,
                "uncertain": UNCERTAIN_SECONDS,
            }
            if not self._database.run(_ANNOUNCE, parameters):
                return False
            in_use, announced = self._check(parameters)
            late = self._monotonic() - started > _SEND_SECONDS
            if in_use or late:
                self._database.run(_WITHDRAW, parameters)
            if in_use:
                return False
            if announced and not late:
                self._delete(store, digest, parameters)
                return True

    def renew_trust(self, digest: Digest, location: str, upload: UUID) -> Address:
        """Trust objects that an upload writes from now on, but none that it wrote earlier.

        Wait up to about three seconds for a deletion in progress.
        """
        parameters = {
            "digest": str(digest),
            "location": location,
            "uuid": upload,
            "uncertain": UNCERTAIN_SECONDS,
            "send": _SEND_SECONDS,
        }
        address = Address()
        for pause in (*_PAUSES, 0.0):
            rows = self._database.run(_RENEW_TRUST, parameters)
            if not rows:
                return Address()
            excluded, uncertain, under_way = rows[0]
            address = Address(tuple(excluded or ()), uncertain)
            if not under_way:
                break
            time.sleep(pause)
        return address

    def purge_records(self, minutes: int) -> None:
        """Purge records of deletions that ended too long ago to affect an upload in progress.

        Args:
            minutes: greatest age of an upload in progress.
        """
        parameters = {"minutes": minutes, "limit": _PURGE_BATCH}
        while len(self._database.run(_PURGE, parameters)) == _PURGE_BATCH:
            continue

    def _check(self, parameters: dict[str, object]) -> tuple[bool, bool]:
        """Return whether the object is in use, and whether its deletion is still announced."""
        try:
            in_use, announced = self._database.run(_CHECK, parameters)[0]
        except DatabaseUnavailable:
            # Nothing is sent, so pushes need not avoid the address. Either the lock holder was
            # slow, or the database is unavailable and the announcement expires.
            with suppress(DatabaseUnavailable):
                self._database.run(_WITHDRAW, parameters)
            raise
        return in_use, announced

    def _delete(self, store: ObjectStore, digest: Digest, parameters: dict[str, object]) -> None:
        """Delete the object and record the outcome.

        Raises:
            StoreError: the deletion failed or its outcome is unknown.
        """
        failure: StoreError | None = None
        try:
            store.delete(blob_key(digest))
        except StoreError as error:
            failure = error
        if isinstance(failure, StoreRefused):
            # According to the response, nothing was deleted.
            self._run_twice(_WITHDRAW, parameters)
            raise failure
        outcome = {**parameters, "unknown": failure is not None}
        rows = self._run_twice(_RECORD, outcome)
        if not rows:
            self._run_twice(_RECORD_LOST, outcome)
        if not rows or not rows[0][0]:
            # The process was paused for too long, or a fail-over lost the announcement.
            self._verify(store, digest, parameters)
        if failure is not None:
            fields = {"digest": str(digest), "location": store.location, "cause": str(failure)}
            log.warning("deletion outcome unknown", extra=fields)
            raise failure

    def _verify(self, store: ObjectStore, digest: Digest, parameters: dict[str, object]) -> None:
        """Quarantine a placement whose object was deleted after its announcement ended."""
        fields = {"digest": str(digest), "location": store.location}
        for placement_id, size, verified_at in self._run_twice(_PLACED, parameters):
            try:
                if store.size(blob_key(digest)) == size:
                    continue
            except ObjectMissing:
                log.debug("object missing", extra=fields)
            except StoreError as error:
                # The scrub will read the object.
                log.error("late deletion not verified", extra={**fields, "cause": str(error)})
                continue
            values = {"id": placement_id, "verified_at": verified_at, "kept": list(KEPT)}
            self._run_twice(QUARANTINE, values)
            self._cache.forget(digest)
            log.error("placement quarantined after late deletion", extra=fields)

    def _run_twice(self, sql: str, parameters: dict[str, object]) -> list[list[object]]:
        """Run an idempotent statement, and repeat it on a new connection if the first one broke."""
        try:
            return self._database.run(sql, parameters)
        except DatabaseUnavailable:
            self._database.forget_idle()
            return self._database.run(sql, parameters)
