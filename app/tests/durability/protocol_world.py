"""Two sites whose database, stores, network paths and time a test controls."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg2
from atoll.names import Digest, RepositoryName
from atoll.placement.locations.registration import register_locations
from atoll.services import Services
from atoll.storage.base import blob_key
from atoll.storage.prober import Prober
from atoll.storage.states import REMOVED

from .interleaving import StoppingDatabase
from .paths import StorePath
from .protocol_model import KEPT_SECONDS, Model
from .sites import SUPERUSER, make_registry
from .snapshots import Snapshot, Snapshots

HOMES = ("us", "eu")
REPOSITORIES = ("one", "two")
# The third is the concatenation of the others, so that its first chunk equals a blob.
CONTENTS = (b"a" * 5, b"b" * 7, b"a" * 5 + b"b" * 7)
DIGESTS = {str(Digest.of(content)): content for content in CONTENTS}

# Seconds within which a store carries out unanswered requests.
LATE_MAXIMUM = 900

_SETTINGS = {
    "GARBAGE_COLLECTION_GRACE": "0s",
    "DEFAULT_TAG_EXPIRATION": f"{KEPT_SECONDS}s",
    "TAG_EXPIRATION_OPTIONS": [f"{KEPT_SECONDS}s"],
    "PUSH_TEMP_TAG_EXPIRATION_SEC": KEPT_SECONDS,
    "BLOBUPLOAD_DELETION_DATE_THRESHOLD": KEPT_SECONDS // 60,
    # Shorter than in production, so that deadlocks are resolved soon.
    "DB_CONNECTION_ARGS": {"options": "-c deadlock_timeout=50ms"},
}

# Includes the journal of a removal, whose placements are restored by an undo.
_PLACEMENTS = """
SELECT s.content_checksum, l.name, l.state, p.state
FROM (SELECT storage_id, location_id, state FROM imagestorageplacement
      UNION ALL SELECT storage_id, location_id, state FROM removedplacement) p
JOIN imagestorage s ON s.id = p.storage_id JOIN imagestoragelocation l ON l.id = p.location_id
"""

# Blobs that are referenced according to the database, independently of the model.
_REFERENCED = """
SELECT s.content_checksum FROM imagestorage s WHERE EXISTS (
    SELECT FROM manifestblob mb JOIN manifest m ON m.id = mb.manifest_id
    WHERE mb.blob_id = s.id AND m.deleted_at IS NULL)
OR EXISTS (SELECT FROM uploadedblob ub WHERE ub.blob_id = s.id
           AND ub.expires_at > clock_timestamp())
"""

_REMOVALS = """
SELECT l.name, l.state FROM imagestoragelocation l
LEFT JOIN locationremoval m ON m.location_id = l.id
WHERE (l.state = 'removed') <> (m.location_id IS NOT NULL)
"""

_TASKS = """
SELECT s.content_checksum FROM replicationtask t JOIN imagestorage s ON s.id = t.storage_id
"""

_LEFTOVERS = """
SELECT 'deletion of object ' || storage_id FROM objectdeletion
UNION ALL SELECT 'upload ' || uuid FROM blobupload
"""


@dataclass
class Site:
    """One site: its object graph, and its paths to the stores."""

    graph: Services
    paths: dict[str, StorePath]
    home: str

    def __post_init__(self) -> None:
        dependencies = self.graph.dependencies()
        self.manifests, self.tags = dependencies.manifests, dependencies.tags

    @property
    def database(self) -> StoppingDatabase:
        database = self.graph.database
        assert isinstance(database, StoppingDatabase)
        return database

    def notice(self) -> None:
        """Probe every store and refresh the states of locations, as processes do every 2 s."""
        locations = self.graph.locations
        prober = Prober(locations.stores, locations.health)
        for path in self.paths.values():
            prober.probe_once(path)
        locations.states.refresh(self.database)


@dataclass(frozen=True)
class Placement:
    """A placement, possibly in the journal of a removal, and whether its object is correct."""

    digest: str
    location: str
    removed: bool
    good: bool
    right: bool


@dataclass(frozen=True)
class Past:
    """A state to fail over to: all rows, and the model at that time."""

    rows: Snapshot
    model: Model


class World:
    """Sites on one database. Each example starts with `reset`."""

    def __init__(self, uri: str, directory: Path) -> None:
        self.model = Model()
        registry = make_registry(uri, directory, list(HOMES), _SETTINGS)
        self.stores = registry.stores
        self.sites = {home: self._site(one.graph, home) for home, one in registry.sites.items()}
        self.observer = psycopg2.connect(uri)
        self.observer.autocommit = True
        self._snapshots = Snapshots(self.observer)
        for repository in REPOSITORIES:
            self["us"].graph.repositories.create_for_push(SUPERUSER, name_of(repository))
        register_locations(self["us"].database, self["us"].graph.locations.stores)
        self._beginning = self._snapshots.take()
        self.broken: set[tuple[str, str]] = set()
        self._late_for: dict[str, int] = {}
        self.sessions: list[Any] = []
        self.removals: list[Any] = []
        # The number of removals as lost, which a fail-over does not reset.
        self.losses = 0

    def __getitem__(self, home: str) -> Site:
        return self.sites[home]

    def _site(self, graph: Services, home: str) -> Site:
        locations = graph.locations
        paths = {
            name: StorePath(store, locations.health.observe) for name, store in self.stores.items()
        }
        graph.__dict__["database"] = StoppingDatabase.from_bundle(graph.bundle, size=9)
        graph.__dict__["locations"] = replace(locations, stores=dict(paths))
        return Site(graph, paths, home)

    def reset(self) -> None:
        """Restore the initial rows, empty the stores and repair all faults."""
        self._snapshots.restore(self._beginning)
        self.model = Model()
        self.broken = set()
        self.sessions, self.removals = [], []
        self._late_for.clear()
        for store in self.stores.values():
            store.objects.clear()
        self.repair()
        for site in self.sites.values():
            site.notice()

    def repair(self) -> None:
        """Repair every store and path, and carry out all late deletions."""
        for store in self.stores.values():
            store.down = False
            store.carry_out_deletions()
            store.late_deletions = None
        for site in self.sites.values():
            for path in site.paths.values():
                path.reset()

    def close(self) -> None:
        self.observer.close()
        for site in self.sites.values():
            site.database.forget_idle()

    def query(self, sql: str, *values: Any) -> list[Any]:
        with self.observer.cursor() as cursor:
            cursor.execute(sql, values or None)
            return list(cursor.fetchall())

    # Time and failover.

    def remember(self) -> Past:
        """Return the current state."""
        return Past(self._snapshots.take(), copy.deepcopy(self.model))

    def restore(self, past: Past) -> None:
        """Promote a standby that lacks everything after `past`."""
        now = self.model.now
        self._snapshots.restore(past.rows)
        self._snapshots.age(now - past.model.now)
        self.model = copy.deepcopy(past.model)
        self.model.now = now
        for site in self.sites.values():
            site.database.forget_idle()

    def change_store(self, location: str, *, down: bool, late: bool) -> None:
        """Make a store unavailable, or have it delay deletions without an answer."""
        store = self.stores[location]
        store.down = down
        if late and store.late_deletions is None:
            store.late_deletions = []
        elif not late:
            self.carry_out_deletions(location)
            store.late_deletions = None

    def carry_out_deletions(self, location: str) -> None:
        self.stores[location].carry_out_deletions()

    def pass_time(self, seconds: int) -> None:
        for location in self.stores:
            self._late_for[location] = self._late_for.get(location, 0) + seconds
            if self._late_for[location] >= LATE_MAXIMUM or not self.stores[location].late_deletions:
                self.carry_out_deletions(location)
                self._late_for[location] = 0
        self.model.now += seconds
        self._snapshots.age(seconds)

    # Queries.

    def right(self, location: str, digest: str) -> bool:
        """Return whether the store of `location` has the right bytes for `digest`."""
        data = self.stores[location].objects.get(key_of(digest))
        return data is not None and str(Digest.of(data)) == digest

    def good(self) -> dict[str, set[str]]:
        """Return the locations at which each blob has a good placement and a correct object."""
        return _good(self._placements())

    def silently_broken(self) -> bool:
        """Return whether a placement relies on an object that the test broke."""
        return any(not one.right and one.good for one in self._placements())

    def _placements(self) -> list[Placement]:
        return [
            Placement(
                digest,
                location,
                state == REMOVED,
                placement == "good",
                self.right(location, digest),
            )
            for digest, location, state, placement in self.query(_PLACEMENTS)
        ]

    def states(self) -> dict[str, str]:
        return dict(self.query("SELECT name, state FROM imagestoragelocation"))

    def being_removed(self) -> str | None:
        """Return a location whose removal is in progress."""
        return next((name for name, state in self.states().items() if state == REMOVED), None)

    def problems(self) -> list[str]:
        """Return the violated invariants."""
        placements = self._placements()
        good = _good(placements)
        self.broken = {
            (place, digest) for place, digest in self.broken if not self.right(place, digest)
        }
        needed = self.model.needed()
        found = [
            f"{name_content(digest)} was acknowledged, is referenced and has no good copy"
            for digest in sorted(needed)
            if not good.get(digest)
        ]
        found += [
            f"{name_content(digest)} is referenced in the database and has no good copy"
            for (digest,) in self.query(_REFERENCED)
            if not good.get(digest) and digest not in self.model.lost and digest not in needed
        ]
        found += [
            f"{name_content(one.digest)} has a good placement at {one.location} without its object"
            for one in placements
            if one.good and not one.right and (one.location, one.digest) not in self.broken
        ]
        found += [
            f"location {name} is {state}, and its removal says otherwise"
            for name, state in self.query(_REMOVALS)
        ]
        return found

    def missing_copies(self) -> list[str]:
        """Return the needed blobs that lack a good copy at a location, or that have a task."""
        good = self.good()
        needed = self.model.needed()
        tasks = {row[0] for row in self.query(_TASKS)}
        found = [
            f"{name_content(digest)} has no good copy at {home}"
            for digest in sorted(needed)
            for home in HOMES
            if home not in good.get(digest, set())
        ]
        return found + [f"{name_content(one)} has a task" for one in sorted(tasks & needed)]

    def leftovers(self) -> list[str]:
        """Return undeleted leftovers: rows of deletions and uploads, and objects."""
        placed = {(one.location, key_of(one.digest)) for one in self._placements()}
        return [str(row) for row in self.query(_LEFTOVERS)] + [
            f"object {key} at {location}"
            for location, store in self.stores.items()
            for key in store.objects
            if (location, key) not in placed
        ]

    def observe_removals(self) -> None:
        """Update the model with removals that were undone or completed."""
        states = self.states()
        for location in set(self.model.lost.values()) - {""}:
            if location not in states:
                self.model.removal_completed(location)
            elif states[location] != REMOVED:
                self.model.removal_undone(location)


def _good(placements: list[Placement]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one in placements:
        if one.good and one.right and not one.removed:
            found.setdefault(one.digest, set()).add(one.location)
    return found


def name_of(repository: str) -> RepositoryName:
    return RepositoryName(SUPERUSER, repository)


def key_of(digest: str) -> str:
    return blob_key(Digest.parse(digest))


def name_content(digest: str) -> str:
    return f"blob {CONTENTS.index(DIGESTS[digest])}" if digest in DIGESTS else digest
