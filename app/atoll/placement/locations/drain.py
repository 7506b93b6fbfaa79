"""Change the states of locations, and empty a location of its sole copies before it is removed.

A `draining` location receives no new blobs and is not required any more; its sole copies become
tasks for the required locations that remain.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2.errors

from atoll.db.pool import Database
from atoll.placement.location_locks import LOCK_STATES_SOON
from atoll.placement.rules import required_of, used
from atoll.storage.states import ACTIVE, DRAINING, KEPT, REMOVED

# Minutes without a change after which an upload is taken for given up.
_UPLOAD_IDLE_MINUTES = 15

# Used blobs with a placement of any state at a location, or one that its removal has moved to the
# journal, and without a copy elsewhere that counts. Expects `parameters`.
ONLY_THERE = f"""
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

# Uploads that are under way and have bytes there.
OPEN_UPLOADS = """
SELECT count(*) FROM blobupload u
WHERE NOT u.ended AND u.changed_at > clock_timestamp() - make_interval(mins => %(idle_minutes)s)
  AND (u.first_location = %(location)s
       OR u.chunks @> jsonb_build_array(jsonb_build_object('location', %(location)s)))
"""

REMAINING = f"""
SELECT count(*), coalesce(sum(image_size), 0)::bigint, ({OPEN_UPLOADS})
FROM ({ONLY_THERE}) only_there
"""

# Of these, blobs that may be nowhere else: no task can bring them anywhere.
_NOWHERE = f"""
SELECT count(*) FROM ({ONLY_THERE}) only_there
WHERE NOT EXISTS (SELECT FROM imagestoragelocation l
                  WHERE l.name <> %(location)s AND {required_of("only_there.id", "l")})
"""

# An expression: some of the images, with their tags, that need `blob`.
IMAGES = """array(
    SELECT DISTINCT n.username || '/' || r.name || coalesce(':' || t.name, '@' || m.digest)
    FROM manifestblob mb JOIN manifest m ON m.id = mb.manifest_id
    JOIN repository r ON r.id = mb.repository_id JOIN "user" n ON n.id = r.namespace_user_id
    LEFT JOIN tag t ON t.manifest_id = m.id AND t.lifetime_end_ms IS NULL
    WHERE mb.blob_id = blob.id ORDER BY 1 LIMIT 5)"""

_ONLY_THERE = f"""
WITH blob AS ({ONLY_THERE} ORDER BY s.id LIMIT %(limit)s)
SELECT blob.content_checksum, blob.image_size, {IMAGES} FROM blob ORDER BY blob.id
"""

STATES = "SELECT name, state FROM imagestoragelocation ORDER BY id"

_SET_STATE = """
UPDATE imagestoragelocation SET state = %(state)s WHERE name = %(location)s AND state <> 'removed'
RETURNING id
"""


class LocationUnknown(Exception):
    """There is no such location; the text names those that there are."""


class LocationNeeded(Exception):
    """The location cannot be removed, or its state not changed; the text names the remedy."""


class SoleCopies(LocationNeeded):
    """The location has sole copies of blobs."""


class LocationsBusy(LocationNeeded):
    """Another command is removing a location or changing its state."""


@dataclass(frozen=True)
class Trust:
    """Which good copies count as safe, besides those of draining and removed locations.

    Attributes:
        unreachable: locations whose copies do not count, as their stores cannot be read.
        verified_within: seconds since a copy was last hashed, at most; None for any.
    """

    unreachable: tuple[str, ...] = ()
    verified_within: int | None = None


ANY_GOOD_COPY = Trust()


@dataclass(frozen=True)
class Remaining:
    """What still keeps a location: blobs that are only there, their bytes, uploads under way."""

    blobs: int
    bytes: int
    uploads: int

    def __bool__(self) -> bool:
        return bool(self.blobs or self.uploads)


@dataclass(frozen=True)
class OnlyThere:
    """A blob that is nowhere else, and some of the images that need it."""

    digest: str
    size: int
    images: list[str]


def parameters(location: str, trust: Trust = ANY_GOOD_COPY) -> dict[str, object]:
    """Return the parameters of this module's statements."""
    return {
        "location": location,
        "kept": list(KEPT),
        "idle_minutes": _UPLOAD_IDLE_MINUTES,
        "unreachable": list(trust.unreachable),
        "verified_within": trust.verified_within,
    }


def location_states(database: Database) -> dict[str, str]:
    """Return every location and its state."""
    return dict(database.read(STATES))


def require_known(location: str, states: dict[str, str]) -> None:
    """Raise LocationUnknown if there is no such location."""
    if location not in states:
        known = ", ".join(states) or "none"
        raise LocationUnknown(f"there is no location '{location}'; known are: {known}")


@contextmanager
def locked_states(database: Database) -> Iterator[Any]:
    """Yield a cursor in a transaction that holds the states lock.

    Raises:
        LocationsBusy: another command held the lock for several seconds.
    """
    with database.transaction() as cursor:
        try:
            cursor.execute(LOCK_STATES_SOON)
        except psycopg2.errors.LockNotAvailable as error:
            raise LocationsBusy(
                "another command is removing a location or changing its state, and nothing was"
                " changed; run this again when that command has ended"
            ) from error
        yield cursor


def begin_draining(database: Database, location: str, required: list[str]) -> list[str]:
    """Set LOCATION to draining and return the required locations that remain.

    Raises:
        LocationUnknown: there is no such location.
        LocationNeeded: no required location would remain, it is being removed, or another command
            changes the locations.
    """
    with locked_states(database) as cursor:
        states = states_under_lock(cursor)
        require_known(location, states)
        if states[location] == REMOVED:
            raise LocationNeeded(
                f"'{location}' is being removed; finish that with"
                f" `atoll remove-location {location}`"
            )
        remaining = [
            name for name in required if name != location and states.get(name, ACTIVE) in KEPT
        ]
        if not remaining:
            raise LocationNeeded(
                f"'{location}' is the only location where blobs must be; add another one first"
                " (DISTRIBUTED_STORAGE_CONFIG, DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS)"
            )
        change_state(cursor, location, DRAINING)
    return remaining


def set_state(database: Database, location: str, state: str) -> None:
    """Set the state of a location that is not being removed.

    Raises:
        LocationUnknown: there is no such location.
        LocationNeeded: it is being removed, or another command changes the locations.
    """
    with locked_states(database) as cursor:
        require_known(location, states_under_lock(cursor))
        if not change_state(cursor, location, state):
            raise LocationNeeded(
                f"'{location}' is being removed; `atoll remove-location {location} --undo` first"
            )


def states_under_lock(cursor: Any) -> dict[str, str]:
    """Return every location and its state, for the holder of the states lock."""
    cursor.execute(STATES)
    return dict(cursor.fetchall())


def change_state(cursor: Any, location: str, state: str) -> bool:
    """Set a state, for the holder of the states lock; False if the location is being removed."""
    cursor.execute(_SET_STATE, {"location": location, "state": state})
    return bool(cursor.fetchall())


def remaining(database: Database, location: str) -> Remaining:
    """Return what still keeps LOCATION. Looks at all blobs that are there."""
    return Remaining(*database.read(REMAINING, parameters(location))[0])


def stuck(database: Database, location: str, required: list[str]) -> int:
    """Return how many blobs that are only at LOCATION may be nowhere else, by their policies.

    REQUIRED are the default locations.
    """
    rows = database.read(_NOWHERE, {**parameters(location), "required": required})
    return int(rows[0][0])


def only_there(database: Database, location: str, limit: int) -> list[OnlyThere]:
    """Return the first LIMIT blobs that are at LOCATION only."""
    rows = database.read(_ONLY_THERE, {**parameters(location), "limit": limit})
    return [OnlyThere(*row) for row in rows]
