"""What a location must be kept for: sole copies of blobs, and uploads in progress."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.db.pool import Database
from atoll.placement.rules import required_of, used
from atoll.storage.states import KEPT

# Minutes without a change after which an upload counts as abandoned.
_UPLOAD_IDLE_MINUTES = 15

# List used blobs that have a placement of any state at a location, or one that its removal has
# moved to the journal, and no copy elsewhere that counts. Expects `parameters`.
SOLE_COPIES = f"""
SELECT s.id, s.content_checksum, s.image_size
FROM (SELECT p.storage_id FROM imagestorageplacement p
      JOIN imagestoragelocation l ON l.id = p.location_id WHERE l.name = %(location)s
      UNION SELECT r.storage_id FROM removedplacement r
      JOIN imagestoragelocation l ON l.id = r.location_id WHERE l.name = %(location)s) here
JOIN imagestorage s ON s.id = here.storage_id
WHERE NOT EXISTS (
    SELECT FROM imagestorageplacement o JOIN imagestoragelocation ol ON ol.id = o.location_id
    WHERE o.storage_id = s.id AND o.state = 'good'
      AND ol.name <> %(location)s AND ol.state = ANY(%(kept)s)
      AND ol.name <> ALL(%(unreachable)s::text[])
      AND (%(verified_within)s::float8 IS NULL
           OR o.verified_at > clock_timestamp() - make_interval(secs => %(verified_within)s)))
  AND {used("s.id")}
"""

# Count the uploads in progress that have bytes at a location.
OPEN_UPLOADS = """
SELECT count(*) FROM blobupload u
WHERE NOT u.ended AND u.changed_at > clock_timestamp() - make_interval(mins => %(idle_minutes)s)
  AND (u.first_location = %(location)s
       OR u.chunks @> jsonb_build_array(jsonb_build_object('location', %(location)s)))
"""

REMAINING = f"""
SELECT count(*), coalesce(sum(image_size), 0)::bigint, ({OPEN_UPLOADS})
FROM ({SOLE_COPIES}) sole_copies
"""

# Count the sole copies for which no other location is allowed, so that nothing copies them.
_BOUND = f"""
SELECT count(*) FROM ({SOLE_COPIES}) sole_copies
WHERE NOT EXISTS (SELECT FROM imagestoragelocation l
                  WHERE l.name <> %(location)s AND {required_of("sole_copies.id", "l")})
"""

# An expression for up to five images, with their tags, that need `blob`.
IMAGES = """array(
    SELECT DISTINCT n.username || '/' || r.name || coalesce(':' || t.name, '@' || m.digest)
    FROM manifestblob mb JOIN manifest m ON m.id = mb.manifest_id
    JOIN repository r ON r.id = mb.repository_id JOIN "user" n ON n.id = r.namespace_user_id
    LEFT JOIN tag t ON t.manifest_id = m.id AND t.lifetime_end_ms IS NULL
    WHERE mb.blob_id = blob.id ORDER BY 1 LIMIT 5)"""

_LIST = f"""
WITH blob AS ({SOLE_COPIES} ORDER BY s.id LIMIT %(limit)s)
SELECT blob.content_checksum, blob.image_size, {IMAGES} FROM blob ORDER BY blob.id
"""


@dataclass(frozen=True)
class SafeCopies:
    """Good copies that count as safe. Copies at draining and removed locations never do.

    Attributes:
        unreachable: locations whose copies do not count, because no instance can read from them.
        verified_within: seconds since a copy was last hashed, at most; None for any.
    """

    unreachable: tuple[str, ...] = ()
    verified_within: int | None = None


ANY_GOOD_COPY = SafeCopies()


@dataclass(frozen=True)
class Remaining:
    """What a location must be kept for; false if nothing.

    Attributes:
        blobs: sole copies, with `bytes` in total.
        uploads: uploads in progress that have bytes there.
    """

    blobs: int
    bytes: int
    uploads: int

    def __bool__(self) -> bool:
        return bool(self.blobs or self.uploads)


@dataclass(frozen=True)
class SoleCopy:
    """A blob with a sole copy, its size in bytes, and some of the images that need it."""

    digest: str
    size: int
    images: list[str]


def parameters(location: str, safe: SafeCopies = ANY_GOOD_COPY) -> dict[str, object]:
    """Return the parameters of this module's statements."""
    return {
        "location": location,
        "kept": list(KEPT),
        "idle_minutes": _UPLOAD_IDLE_MINUTES,
        "unreachable": list(safe.unreachable),
        "verified_within": safe.verified_within,
    }


class SoleCopies:
    """Query the sole copies of a location. Each query reads all blobs of the location."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remaining(self, location: str) -> Remaining:
        """Return what a location must still be kept for."""
        return Remaining(*self._database.read(REMAINING, parameters(location))[0])

    def bound(self, location: str, required: list[str]) -> int:
        """Return the number of sole copies that policies bind to a location.

        Args:
            required: the default locations.
        """
        rows = self._database.read(_BOUND, {**parameters(location), "required": required})
        return int(rows[0][0])

    def list(self, location: str, limit: int) -> list[SoleCopy]:
        """Return the first sole copies of a location."""
        rows = self._database.read(_LIST, {**parameters(location), "limit": limit})
        return [SoleCopy(*row) for row in rows]
