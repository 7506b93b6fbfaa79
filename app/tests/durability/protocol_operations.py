"""The operations of the placement protocol, each a call of the code under test.

`run` may be called in a thread and stopped anywhere. Afterwards the test calls `settled`, which
updates the model with the outcome that clients and operators observe.
"""
# ruff: noqa: ARG002 - most operations ignore a part of what `settled` receives

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2.errors
from atoll.db.pool import DatabaseUnavailable
from atoll.names import Digest
from atoll.placement.checks.inventory import Inventory, Orphan, delete_orphan
from atoll.placement.checks.repair import heal, implausible
from atoll.placement.checks.verify import Scope, Verifier, begin
from atoll.placement.delete_queue import DeleteQueue
from atoll.placement.locations.errors import ChangeRefused, LocationUnknown, LossNotAccepted
from atoll.placement.locations.lost import Losses
from atoll.placement.locations.registration import register_locations
from atoll.placement.locations.remove import Removal, RemovalStep
from atoll.placement.locations.states import LocationTable
from atoll.placement.policies import Policies, Policy, PolicyInvalid, Subject
from atoll.placement.tasks import Tasks
from atoll.placement.upkeep.backfill import Reconciler
from atoll.placement.upkeep.garbage import Collector
from atoll.placement.upkeep.over_replication import OverReplication
from atoll.rate_limit import RateLimiter
from atoll.registry.errors import RegistryError
from atoll.registry.untagged_manifests import UntaggedManifests
from atoll.registry.upload_session import Upload
from atoll.replication.worker import Worker
from atoll.storage.errors import StoreError
from atoll.storage.states import ACTIVE

from ..caches import NoManifestCache, RecordingCache
from .protocol_world import CONTENTS, HOMES, World, name_of
from .sites import MANIFEST_TYPE, SUPERUSER, image_manifest
from .uploads import request_body

# Errors that the code under test raises without side effects on acknowledged blobs.
REFUSALS = (
    RegistryError,
    StoreError,
    DatabaseUnavailable,
    ChangeRefused,
    LocationUnknown,
    LossNotAccepted,
    PolicyInvalid,
    psycopg2.errors.DeadlockDetected,
)

# The contents of each manifest, by number; the first one is its configuration.
_MANIFESTS = ((0,), (0, 2), (2, 1))


def _digest(content: int) -> str:
    return str(Digest.of(CONTENTS[content]))


def _manifest(number: int) -> bytes:
    config, *layers = (CONTENTS[content] for content in _MANIFESTS[number])
    return image_manifest(config, layers)


@dataclass
class Action:
    """One call. `safe_with_broken`: it may run while a silently broken object is relied on."""

    safe_with_broken = True

    def run(self, world: World) -> Any:
        """Call the code under test, in any thread."""
        raise NotImplementedError

    def settled(self, world: World, result: Any, *, done: bool) -> None:
        """Update the model. The outcome is unknown unless `done`: it failed or was killed."""


@dataclass
class Push(Action):
    """Push a blob in one request."""

    site: str
    repository: str
    content: int
    losses_before: int = field(default=0, repr=False)

    def run(self, world: World) -> Any:
        self.losses_before = world.losses
        uploads = world[self.site].graph.uploads
        upload = uploads.start(name_of(self.repository), SUPERUSER)
        content = CONTENTS[self.content]
        uploads.finish(upload, Digest.of(content), request_body(content))

    def settled(self, world: World, result: Any, *, done: bool) -> None:
        if done:
            digest = _digest(self.content)
            world.model.blob_acknowledged(self.repository, digest, self.losses_before)


@dataclass
class Session:
    """A client's upload in chunks: the first content, then the second."""

    upload: Upload
    repository: str
    sent: bytes = b""


@dataclass
class BeginChunks(Action):
    """Start an upload and send its first chunk, which equals another blob."""

    site: str
    repository: str
    content: int
    sessions: list[Session] = field(default_factory=list, repr=False)

    def run(self, world: World) -> Any:
        uploads = world[self.site].graph.uploads
        upload = uploads.start(name_of(self.repository), SUPERUSER)
        content = CONTENTS[self.content]
        return Session(uploads.append(upload, request_body(content)), self.repository, content)

    def settled(self, world: World, result: Any, *, done: bool) -> None:
        if done:
            world.sessions.append(result)


@dataclass
class ContinueChunks(Action):
    """Send the second content as the next chunk of an upload, and optionally finish it."""

    site: str
    number: int
    more: bool
    finish: bool
    losses_before: int = field(default=0, repr=False)

    def run(self, world: World) -> Any:
        self.losses_before = world.losses
        session = _session(world, self.number)
        if session is None:
            return None
        uploads = world[self.site].graph.uploads
        body = CONTENTS[1] if self.more else b""
        whole = session.sent + body
        if self.finish:
            uploads.finish(session.upload, Digest.of(whole), request_body(body))
            return session.repository, whole
        if self.more:
            session.upload = uploads.append(session.upload, request_body(body))
            session.sent = whole
        return None

    def settled(self, world: World, result: Any, *, done: bool) -> None:
        if done and result is not None:
            repository, whole = result
            digest = str(Digest.of(whole))
            world.model.blob_acknowledged(repository, digest, self.losses_before)


@dataclass
class CancelChunks(Action):
    """Cancel an upload, or end it by finishing it with a wrong digest."""

    site: str
    number: int
    mismatch: bool

    def run(self, world: World) -> Any:
        session = _session(world, self.number)
        if session is None:
            return
        uploads = world[self.site].graph.uploads
        if self.mismatch:
            uploads.finish(session.upload, Digest.of(b"something else"), request_body(b""))
        else:
            uploads.cancel(name_of(session.repository), session.upload.uuid)

    def settled(self, world: World, result: Any, *, done: bool) -> None:
        # No client continues this upload, regardless of the outcome.
        if session := _session(world, self.number):
            world.sessions.remove(session)


@dataclass
class Mount(Action):
    """Mount a blob of one repository in another."""

    site: str
    target: str
    source: str
    content: int
    losses_before: int = field(default=0, repr=False)

    def run(self, world: World) -> Any:
        self.losses_before = world.losses
        mounts = world[self.site].graph.blob_mounts
        digest = Digest.of(CONTENTS[self.content])
        return mounts.mount(name_of(self.target), name_of(self.source), digest)

    def settled(self, world: World, result: Any, *, done: bool) -> None:
        if done and result:
            digest = _digest(self.content)
            world.model.blob_acknowledged(self.target, digest, self.losses_before)


@dataclass
class DeleteBlob(Action):
    site: str
    repository: str
    content: int

    def run(self, world: World) -> Any:
        blobs = world[self.site].graph.blobs
        blobs.delete(name_of(self.repository), Digest.of(CONTENTS[self.content]))

    def settled(self, world: World, result: Any, *, done: bool) -> None:
        world.model.right_deleted(self.repository, _digest(self.content))


@dataclass
class PutManifest(Action):
    """Push a manifest by digest or under a tag, which then refers to it."""

    site: str
    repository: str
    manifest: int
    tag: str | None

    def run(self, world: World) -> Any:
        content = _manifest(self.manifest)
        world[self.site].manifests.put(
            name_of(self.repository),
            self.tag or str(Digest.of(content)),
            content,
            MANIFEST_TYPE,
            tags=[],
            username=SUPERUSER,
        )

    def settled(self, world: World, result: Any, *, done: bool) -> None:
        if not done:
            if self.tag is not None:
                world.model.tag_ended(self.repository, self.tag)
            return
        blobs = frozenset(_digest(content) for content in _MANIFESTS[self.manifest])
        digest = str(Digest.of(_manifest(self.manifest)))
        world.model.manifest_accepted(self.repository, digest, blobs, self.tag)


@dataclass
class DeleteManifest(Action):
    site: str
    repository: str
    manifest: int

    def run(self, world: World) -> Any:
        digest = Digest.of(_manifest(self.manifest))
        world[self.site].manifests.delete(name_of(self.repository), digest)

    def settled(self, world: World, result: Any, *, done: bool) -> None:
        digest = str(Digest.of(_manifest(self.manifest)))
        world.model.manifest_deleted(self.repository, digest)


@dataclass
class DeleteTag(Action):
    site: str
    repository: str
    tag: str

    def run(self, world: World) -> Any:
        world[self.site].tags.delete(name_of(self.repository), self.tag)

    def settled(self, world: World, result: Any, *, done: bool) -> None:
        world.model.tag_ended(self.repository, self.tag)


@dataclass
class Collect(Action):
    """Run one phase of the garbage collection."""

    site: str
    part: str

    def run(self, world: World) -> Any:
        graph = world[self.site].graph
        if self.part == "untagged":
            untagged = UntaggedManifests(graph.database, graph.bundle, NoManifestCache())
            untagged.step()
        else:
            collector = Collector(graph.database, graph.bundle, RecordingCache())
            getattr(collector, self.part)()


@dataclass
class DeleteObjects(Action):
    """Run one turn of the delete queue of a location, as a site's worker does."""

    site: str
    location: str

    def run(self, world: World) -> Any:
        graph = world[self.site].graph
        if graph.locations.health.is_up(self.location):
            DeleteQueue(graph.database, graph.content, self.location).turn()


@dataclass
class DeleteLeftovers(Action):
    """Delete the objects and records of ended and abandoned uploads."""

    site: str

    def run(self, world: World) -> Any:
        world[self.site].graph.uploads.delete_leftovers()


@dataclass
class Copy(Action):
    """Claim tasks for the site's own location and copy their blobs."""

    site: str

    def run(self, world: World) -> Any:
        site = world[self.site]
        if not site.graph.locations.health.is_writable(self.site):
            return
        worker = Worker(site.database, site.graph.locations, copies=1, cache=RecordingCache())
        tasks = Tasks(site.database, self.site)
        tasks.finish([task for task in tasks.claim(limit=4) if worker._run_task(task)])


@dataclass
class Reconcile(Action):
    site: str

    def run(self, world: World) -> Any:
        Reconciler(world[self.site].database, list(HOMES)).everything()


@dataclass
class Verify(Action):
    """`atoll verify --heal`, from one site, of its own location or of all."""

    site: str
    everything: bool
    full: bool

    def run(self, world: World) -> Any:
        site = world[self.site]
        if self.everything and any(path.intercepted for path in site.paths.values()):
            # The operator uses a site that can read all stores correctly.
            return
        locations = site.graph.locations
        verifier = Verifier(site.database, locations.stores, locations.health, RateLimiter(None))
        run = begin(site.database, Scope(None if self.everything else self.site, full=self.full))
        for _ in verifier.verify(run):
            continue
        for _ in heal(site.database, run, spared=implausible(run.counts), queue=True):
            continue


@dataclass
class DeleteOrphans(Action):
    """`atoll inventory LOCATION --delete-orphans`."""

    site: str
    location: str

    def run(self, world: World) -> Any:
        graph = world[self.site].graph
        if not world.query("SELECT FROM imagestoragelocation WHERE name = %s", self.location):
            return
        store = graph.locations.stores[self.location]
        entries = Inventory(graph.database, store, _later()).entries()
        for orphan in [entry for entry, _ in entries if isinstance(entry, Orphan)]:
            delete_orphan(orphan, store, graph.content)


@dataclass
class Drain(Action):
    location: str

    def run(self, world: World) -> Any:
        LocationTable(world["us"].database).set_draining(self.location, list(HOMES))


@dataclass
class Activate(Action):
    """Set a location to active or read-only."""

    location: str
    state: str = ACTIVE

    def run(self, world: World) -> Any:
        LocationTable(world["us"].database).set_state(self.location, self.state)


@dataclass
class Remove(Action):
    """Drain a location unless `drained`, and start or resume its removal."""

    site: str
    location: str
    drained: bool
    safe_with_broken = False

    def run(self, world: World) -> Any:
        database = world[self.site].database
        if not self.drained:
            with suppress(ChangeRefused):
                LocationTable(database).set_draining(self.location, list(HOMES))
        steps = Removal(LocationTable(database), batch=1).steps(self.location)
        next(steps)
        return steps

    def settled(self, world: World, result: Any, *, done: bool) -> None:
        if done:
            world.removals.append(result)


@dataclass
class RemoveLost(Action):
    """Start the removal of a location whose store is lost, and accept the reported loss."""

    site: str
    location: str
    safe_with_broken = False
    lost: set[str] = field(default_factory=set, repr=False)

    def run(self, world: World) -> Any:
        database = world[self.site].database
        blobs = Losses(database).expected(self.location).blobs
        self.lost = {blob.digest for blob in blobs}
        steps = Removal(LocationTable(database), batch=1).steps(
            self.location, accepted_loss=len(blobs)
        )
        next(steps)
        return steps

    def settled(self, world: World, result: Any, *, done: bool) -> None:
        if done:
            world.removals.append(result)
        if done or world.states().get(self.location) in ("removed", None):
            world.losses += 1
            world.model.loss_accepted(self.lost, self.location, world.losses)


@dataclass
class ContinueRemoval(Action):
    """Run the next step of a removal in progress; resume an interrupted one."""

    number: int

    def run(self, world: World) -> Any:
        if world.removals:
            # A generator exists in one process only.
            steps: Iterator[RemovalStep] = world.removals.pop(self.number % len(world.removals))
        elif location := world.being_removed():
            steps = Removal(LocationTable(world["us"].database), batch=1).steps(location)
        else:
            return None
        return steps if next(steps, None) is not None else None

    def settled(self, world: World, result: Any, *, done: bool) -> None:
        if done and result is not None:
            world.removals.append(result)


@dataclass
class Undo(Action):
    """Undo the removal in progress."""

    site: str

    def run(self, world: World) -> Any:
        if location := world.being_removed():
            Removal(LocationTable(world[self.site].database)).undo(location)


@dataclass
class Register(Action):
    """Register removed locations again, as a restart does; their stores keep their objects."""

    site: str

    def run(self, world: World) -> Any:
        site = world[self.site]
        register_locations(site.database, site.graph.locations.stores)


@dataclass
class SetPolicy(Action):
    """Exclude locations for a repository."""

    repository: str
    excluded: tuple[str, ...]

    def run(self, world: World) -> Any:
        policies = Policies(world["us"].database, list(HOMES))
        subject = Subject(SUPERUSER, self.repository)
        if self.excluded:
            policies.set(subject, Policy(excluded=self.excluded))
        else:
            policies.clear(subject)


@dataclass
class RemoveOverReplicated(Action):
    site: str
    safe_with_broken = False

    def run(self, world: World) -> Any:
        OverReplication(world[self.site].database, list(HOMES), RecordingCache()).step()


def _session(world: World, number: int) -> Session | None:
    return world.sessions[number % len(world.sessions)] if world.sessions else None


def _later() -> datetime:
    """Return a time at which every object is old enough to count as an orphan."""
    return datetime.now(UTC) + timedelta(hours=1)
