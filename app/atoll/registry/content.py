"""Objects at content addresses: to count on one, and to take one away, exclude each other.

Whoever counts on an object holds the advisory lock on its digest shared, whoever takes one away
holds it alone and leaves a note (`contentdeletion`) for those who wrote the same object before that
and did not count on it yet: they write it again. The note is there before the object goes, without
an end (`infinity`), so that a process that dies in between has told, too.
"""

from __future__ import annotations

from uuid import UUID, uuid4

from atoll.db.pool import Database
from atoll.names import Digest
from atoll.replication.required import excluded_in
from atoll.storage.errors import StoreError
from atoll.storage.interface import blob_key
from atoll.storage.locations import Locations

# The lock's key is a hash of the digest; a collision of 64 bits costs a wait, nothing else.
LOCK_DIGEST_SHARED = "SELECT pg_advisory_xact_lock_shared(hashtextextended(%(digest)s, 0));"
LOCK_DIGEST = "SELECT pg_advisory_xact_lock(hashtextextended(%(digest)s, 0));"

# A condition: the object that upload `u` wrote may have been taken away again.
DELETED_SINCE = """EXISTS (
    SELECT FROM contentdeletion c WHERE c.digest = %(digest)s
    AND c.location = %(location)s AND c.deleted_at >= u.trusted_since)"""

_IN_USE = """(EXISTS (
    SELECT FROM imagestorageplacement p
    JOIN imagestorage s ON s.id = p.storage_id JOIN imagestoragelocation l ON l.id = p.location_id
    WHERE s.content_checksum = %(digest)s AND l.name = %(location)s
) OR EXISTS (
    SELECT FROM removedplacement p
    JOIN imagestorage s ON s.id = p.storage_id JOIN imagestoragelocation l ON l.id = p.location_id
    WHERE s.content_checksum = %(digest)s AND l.name = %(location)s
) OR EXISTS (
    SELECT FROM blobupload
    WHERE first_digest = %(digest)s AND first_location = %(location)s
      AND uuid IS DISTINCT FROM %(uuid)s))"""

_ANNOUNCE = f"""
INSERT INTO contentdeletion (digest, location, deleted_at, deleter)
SELECT %(digest)s, %(location)s, 'infinity', %(deleter)s WHERE NOT {_IN_USE}
RETURNING deleter
"""

_LOOK_AGAIN = f"""
{LOCK_DIGEST}
SELECT {_IN_USE},
       EXISTS (SELECT FROM contentdeletion WHERE deleter = %(deleter)s AND deleted_at = 'infinity')
"""

_NOTE = "UPDATE contentdeletion SET deleted_at = clock_timestamp() WHERE deleter = %(deleter)s"
_TAKE_BACK = "DELETE FROM contentdeletion WHERE deleter = %(deleter)s"

# Under the lock nobody is at it, so whoever announced a deletion that did not end has died, or will
# see that it must begin again.
# Tells where the upload may not be written.
_TRUST_ANEW = f"""
{LOCK_DIGEST}
UPDATE contentdeletion SET deleted_at = clock_timestamp()
WHERE digest = %(digest)s AND location = %(location)s AND deleted_at = 'infinity';
UPDATE blobupload u SET trusted_since = clock_timestamp() WHERE uuid = %(uuid)s
RETURNING {excluded_in("u.repository_id")}
"""

# Deletions that were announced and not carried out within the hour, nor noticed by an upload.
_FORGET = """
UPDATE contentdeletion SET deleted_at = clock_timestamp()
WHERE deleted_at = 'infinity' AND announced_at < clock_timestamp() - interval '1 hour';
DELETE FROM contentdeletion
WHERE deleted_at < clock_timestamp() - make_interval(mins => %(minutes)s)
"""


class Content:
    """The content addresses in all stores."""

    def __init__(self, database: Database, locations: Locations) -> None:
        self._database = database
        self._locations = locations

    def discard(self, digest: Digest, location: str, upload: UUID | None) -> bool:
        """Take away the object that UPLOAD wrote, unless it is or becomes somebody else's too.

        With None whoever counts on it keeps it. Tells whether it was taken away. Raises StoreError
        or DatabaseUnavailable; the object may still be there then, or go later.
        """
        store = self._locations.stores.get(location)
        if store is None:
            return False
        while True:
            deleter = uuid4()
            parameters = {
                "digest": str(digest),
                "location": location,
                "uuid": upload,
                "deleter": deleter,
            }
            if not self._database.run(_ANNOUNCE, parameters):
                return False
            with self._database.transaction() as cursor:
                cursor.execute(_LOOK_AGAIN, parameters)
                in_use, announced = cursor.fetchall()[0]
                if in_use:
                    cursor.execute(_TAKE_BACK, parameters)
                    return False
                if not announced:
                    continue
                failure: StoreError | None = None
                try:
                    store.delete(blob_key(digest))
                except StoreError as error:
                    failure = error
                cursor.execute(_NOTE, parameters)
            if failure is not None:
                raise failure
            return True

    def trust_anew(self, digest: Digest, location: str, upload: UUID) -> list[str]:
        """Count from now on what UPLOAD writes: what it wrote before may have been taken away.

        Returns the locations that its repository excludes, by now.
        """
        rows = self._database.run(
            _TRUST_ANEW, {"digest": str(digest), "location": location, "uuid": upload}
        )
        return list(rows[0][0] or ()) if rows else []

    def forget_deletions(self, minutes: int) -> None:
        """Forget what no upload that is under way can have written; none is older than MINUTES."""
        self._database.run(_FORGET, {"minutes": minutes})
