"""Objects at content addresses: counting on an object and deleting it exclude each other.

Writers that count on an object hold a shared advisory lock on its digest when they commit. A
deleter announces the deletion (`contentdeletion`), checks under the exclusive lock that nobody
counts on the object, sends the request without holding anything, and records the outcome.

`deleted_at` is the latest moment at which the object may disappear, so an object that was written
before then cannot be counted on. It lies in the future while a deletion is announced and while the
outcome of one is unknown: a store may carry out a request long after its time-out, and a paused
deleter may send it late. Nobody counts on an object at such an address until that time has passed;
pushes are written to another location.
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
from atoll.placement.rules import excluded_in
from atoll.storage.errors import ObjectMissing, StoreError, StoreRefused, StoreUnavailable
from atoll.storage.interface import ObjectStore, blob_key
from atoll.storage.locations import Locations
from atoll.storage.states import KEPT

log = logging.getLogger(__name__)

# Seconds after an announcement, or after a deletion without an answer, in which the object may
# still disappear. S3 refuses a signed request that is older.
UNCERTAIN_SECONDS = 900
# Seconds after its announcement in which a deletion is sent; later it is announced again.
_SEND_SECONDS = 30
# Seconds that a writer waits for a deletion under way before it uses another location. Most take
# some milliseconds.
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
# Notes that one statement forgets.
_FORGOTTEN = 5000

# The lock's key is a hash of the digest; a collision of 64 bits costs a wait, nothing else.
LOCK_DIGEST_SHARED = "SELECT pg_advisory_xact_lock_shared(hashtextextended(%(digest)s, 0));"
LOCK_DIGEST = "SELECT pg_advisory_xact_lock(hashtextextended(%(digest)s, 0));"

# A condition: the object that upload `u` wrote may have been deleted, or may still be.
DELETED_SINCE = """EXISTS (
    SELECT FROM contentdeletion c WHERE c.digest = %(digest)s
    AND c.location = %(location)s AND c.deleted_at >= u.trusted_since)"""

# An upload that ended, or whose repository is gone, does not count on anything. An object whose
# deletion is queued for later is left to the queue: until then a fail-over may bring its placement
# back.
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

# An earlier deletion with an unknown outcome keeps its note, so that attempts add no rows.
_ANNOUNCE = f"""
WITH again AS (
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
    WHERE NOT {_IN_USE} AND NOT EXISTS (SELECT FROM again)
    RETURNING deleter
)
SELECT deleter FROM again UNION ALL SELECT deleter FROM new
"""

_TAKE_BACK = """
DELETE FROM contentdeletion WHERE deleter = %(deleter)s AND unknown_until IS NULL;
UPDATE contentdeletion SET deleter = NULL, deleted_at = unknown_until WHERE deleter = %(deleter)s
"""

_LOOK_AGAIN = f"""
{LOCK_DIGEST}
SELECT {_IN_USE}, EXISTS (SELECT FROM contentdeletion WHERE deleter = %(deleter)s)
"""

# Records an outcome, and returns whether the deletion was announced all the time until now.
# An earlier request may be carried out although a later one was answered.
_NOTE = """
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

# A note that a fail-over lost.
_NOTE_ANEW = """
INSERT INTO contentdeletion (digest, location, deleted_at, unknown_until)
SELECT %(digest)s, %(location)s, until, CASE WHEN %(unknown)s THEN until END
FROM (SELECT clock_timestamp() + CASE WHEN %(unknown)s
      THEN make_interval(secs => %(uncertain)s) ELSE interval '0' END AS until) AS noted
"""

_PLACED = """
SELECT p.id, s.image_size, p.verified_at
FROM imagestorageplacement p JOIN imagestorage s ON s.id = p.storage_id
JOIN imagestoragelocation l ON l.id = p.location_id
WHERE s.content_checksum = %(digest)s AND l.name = %(location)s AND p.state = 'good'
"""

_QUARANTINE = """
WITH quarantined AS (
    UPDATE imagestorageplacement SET state = 'suspect'
    WHERE id = %(id)s AND verified_at = %(verified_at)s
    RETURNING storage_id, location_id
)
INSERT INTO replicationtask (storage_id, location_id)
SELECT q.storage_id, q.location_id
FROM quarantined q JOIN imagestoragelocation l ON l.id = q.location_id
WHERE l.state = ANY(%(kept)s) AND EXISTS (
    SELECT FROM imagestorageplacement o
    WHERE o.storage_id = q.storage_id AND o.location_id <> q.location_id AND o.state = 'good')
ON CONFLICT (storage_id, location_id) DO NOTHING
"""

# Earlier versions announce without an end ('infinity'), and hold the lock while they delete.
_TRUST_ANEW = f"""
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

_FORGET = """
UPDATE contentdeletion SET deleted_at = clock_timestamp()
WHERE deleted_at = 'infinity' AND announced_at < clock_timestamp() - interval '1 hour';
DELETE FROM contentdeletion WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM contentdeletion
    WHERE deleted_at < clock_timestamp() - make_interval(mins => %(minutes)s)
    ORDER BY deleted_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING 1
"""


@dataclass(frozen=True)
class Address:
    """What an upload may do with a content address at a location.

    Attributes:
        excluded: the locations that the upload's repository excludes now.
        uncertain: an object that is written there now may still be deleted.
    """

    excluded: tuple[str, ...] = ()
    uncertain: bool = False


class Content:
    """The content addresses in all stores. FORGET_CACHED is called with a quarantined digest."""

    def __init__(
        self,
        database: Database,
        locations: Locations,
        *,
        forget_cached: Callable[[str], None] = lambda _digest: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._locations = locations
        self._forget_cached = forget_cached
        self._monotonic = monotonic

    def discard(self, digest: Digest, location: str, upload: UUID | None) -> bool:
        """Delete the object that UPLOAD wrote, unless somebody else counts on it.

        Args:
            digest: the object's digest.
            location: where it is.
            upload: the upload that does not count on it any more; with None all that are under way
                count.

        Returns:
            Whether the object was deleted.

        Raises:
            StoreError: the outcome is unknown, or the store is known to be unavailable; the object
                may still be there, and may be deleted later.
            DatabaseUnavailable: likewise.
        """
        store = self._locations.stores.get(location)
        if store is None:
            return False
        if not self._locations.health.is_up(location):
            raise StoreUnavailable(location, "it is known to be down")
        while True:
            deleter = uuid4()
            began = self._monotonic()
            parameters: dict[str, object] = {
                "digest": str(digest),
                "location": location,
                "uuid": upload,
                "deleter": deleter,
                "uncertain": UNCERTAIN_SECONDS,
            }
            if not self._database.run(_ANNOUNCE, parameters):
                return False
            in_use, announced = self._look_again(parameters)
            late = self._monotonic() - began > _SEND_SECONDS
            if in_use or late:
                self._database.run(_TAKE_BACK, parameters)
            if in_use:
                return False
            if announced and not late:
                self._delete(store, digest, parameters)
                return True

    def trust_anew(self, digest: Digest, location: str, upload: UUID) -> Address:
        """Count from now on what UPLOAD writes; what it wrote before may have been deleted.

        Wait some seconds for a deletion under way.
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
            rows = self._database.run(_TRUST_ANEW, parameters)
            if not rows:
                return Address()
            excluded, uncertain, under_way = rows[0]
            address = Address(tuple(excluded or ()), uncertain)
            if not under_way:
                break
            time.sleep(pause)
        return address

    def forget_deletions(self, minutes: int) -> None:
        """Forget deletions that no upload under way can have met; none is older than MINUTES."""
        parameters = {"minutes": minutes, "limit": _FORGOTTEN}
        while len(self._database.run(_FORGET, parameters)) == _FORGOTTEN:
            continue

    def _look_again(self, parameters: dict[str, object]) -> tuple[bool, bool]:
        """Return whether the object is in use, and whether its deletion is announced."""
        try:
            in_use, announced = self._database.run(_LOOK_AGAIN, parameters)[0]
        except DatabaseUnavailable:
            # Nothing is sent, so pushes need not avoid the address. The lock's holder was slow, or
            # the database is unavailable and the note expires.
            with suppress(DatabaseUnavailable):
                self._database.run(_TAKE_BACK, parameters)
            raise
        return in_use, announced

    def _delete(self, store: ObjectStore, digest: Digest, parameters: dict[str, object]) -> None:
        """Delete the object, and record the outcome. Raises StoreError where that is unknown."""
        failure: StoreError | None = None
        try:
            store.delete(blob_key(digest))
        except StoreError as error:
            failure = error
        if isinstance(failure, StoreRefused):
            # The answer says that nothing was deleted.
            self._insist(_TAKE_BACK, parameters)
            raise failure
        outcome = {**parameters, "unknown": failure is not None}
        rows = self._insist(_NOTE, outcome)
        if not rows:
            self._insist(_NOTE_ANEW, outcome)
        if not rows or not rows[0][0]:
            # This process was paused, or a fail-over lost the announcement.
            self._verify(store, digest, parameters)
        if failure is not None:
            fields = {"digest": str(digest), "location": store.location, "cause": str(failure)}
            log.warning("outcome of a deletion is unknown", extra=fields)
            raise failure

    def _verify(self, store: ObjectStore, digest: Digest, parameters: dict[str, object]) -> None:
        """Quarantine a placement whose object was deleted after its announcement ended."""
        fields = {"digest": str(digest), "location": store.location}
        for placement_id, size, verified_at in self._insist(_PLACED, parameters):
            try:
                if store.size(blob_key(digest)) == size:
                    continue
            except ObjectMissing:
                log.debug("object missing", extra=fields)
            except StoreError as error:
                # The background verification reads it sooner or later.
                log.error("late deletion not verified", extra={**fields, "cause": str(error)})
                continue
            values = {"id": placement_id, "verified_at": verified_at, "kept": list(KEPT)}
            self._insist(_QUARANTINE, values)
            self._forget_cached(str(digest))
            log.error("placed object was deleted late; in quarantine", extra=fields)

    def _insist(self, sql: str, parameters: dict[str, object]) -> list[list[object]]:
        """Run SQL that may run twice; once more on a new connection if the old one broke."""
        try:
            return self._database.run(sql, parameters)
        except DatabaseUnavailable:
            self._database.forget_idle()
            return self._database.run(sql, parameters)
