"""Pushes of indexes and of the images that they list meet each other, deletions and collections.

Whatever the order, no transaction fails, none waits for another indefinitely, and every listed
manifest is either a child or absent.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
from atoll.audit.log import Entry
from atoll.names import Digest
from atoll.placement.upkeep.garbage import Collector
from atoll.registry.errors import ManifestBlobUnknown, ManifestUnknown
from atoll.registry.manifest_cache import ManifestCache
from atoll.registry.namespace_deletion import NamespaceDeletion
from atoll.registry.tag_history import TagHistory
from atoll.registry.untagged_manifests import UntaggedManifests

from ..caches import RecordingCache
from .indexes import CONFIG, image, index, put, wrong_references
from .interleaving import ANY, Operation, State, Stop, StoppingDatabase
from .sites import MemorySite, make_registry
from .snapshots import Snapshots

_SETTINGS: dict[str, object] = {
    "FEATURE_SPARSE_INDEX": True,
    "DEFAULT_TAG_EXPIRATION": "0s",
    "TAG_EXPIRATION_OPTIONS": ["0s"],
    "PUSH_TEMP_TAG_EXPIRATION_SEC": 1,
    # Deadlocks are resolved, and counted, soon.
    "DB_CONNECTION_ARGS": {"options": "-c deadlock_timeout=50ms"},
}
IMAGE, OTHER_IMAGE = image(1), image(2)
INDEX = index(IMAGE, OTHER_IMAGE)
OUTER = index(INDEX, IMAGE)
_EXPIRE = "UPDATE manifest SET pushed_at = pushed_at - interval '1 day', deleted_at = deleted_at"
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"

Change = Callable[[MemorySite], object]


def push(content: bytes, tag: str | None = None) -> Change:
    """Return the push of a manifest, by its digest or under a tag."""
    return lambda site: put(site.manifests(), site.repository, content, tag)


def delete(content: bytes) -> Change:
    return lambda site: site.manifests().delete(site.repository, Digest.of(content))


def restore(content: bytes, tag: str) -> Change:
    """Return the restoration of a tag to a manifest that may be deleted."""
    return lambda site: TagHistory(site.database, site.graph.redis, 3600).restore(
        site.repository, tag, str(Digest.of(content))
    )


def collect_deleted(site: MemorySite) -> None:
    Collector(site.database, site.graph.bundle, RecordingCache()).delete_manifests()


def collect_untagged(site: MemorySite) -> None:
    cache = ManifestCache(site.graph.redis)
    UntaggedManifests(site.database, site.graph.bundle, cache).step()


def expire(site: MemorySite) -> None:
    """End the time for which untagged and deleted manifests are kept."""
    site.database.run(f"{_EXPIRE} - interval '1 day'")


def delete_repository(site: MemorySite) -> None:
    name = site.repository
    entry = Entry("delete_repo", name.namespace, name.name, None, None, {})
    NamespaceDeletion(site.database, site.graph.redis).delete_repository(name, entry)


@dataclass
class World:
    """A site whose operations stop between statements, and its initial state."""

    site: MemorySite
    observer: psycopg2.extensions.connection
    snapshots: Snapshots

    def start(self, change: Change) -> Operation:
        return Operation(lambda: change(self.site), self.observer)


@pytest.fixture
def world(make_database: Callable[[], str], tmp_path: Path) -> Iterator[World]:
    registry = make_registry(make_database(), tmp_path, ["us"], _SETTINGS)
    site = registry["us"]
    site.graph.__dict__["database"] = StoppingDatabase.from_bundle(site.graph.bundle, size=9)
    site.push(CONFIG)
    observer = psycopg2.connect(registry.uri)
    observer.autocommit = True
    yield World(site, observer, Snapshots(observer))
    observer.close()


# Each: what happened before, and two changes that meet.
SCENARIOS: dict[str, tuple[list[Change], Change, Change]] = {
    "index and image": ([], push(INDEX, "a"), push(IMAGE, "b")),
    "index and inner index": ([], push(OUTER, "a"), push(INDEX, "b")),
    "two indexes": ([], push(OUTER, "a"), push(index(IMAGE), "b")),
    "two tags of an index": ([], push(INDEX, "a"), push(INDEX, "b")),
    "swapped tags": (
        [push(INDEX, "a"), push(OUTER, "b")],
        push(OUTER, "a"),
        push(INDEX, "b"),
    ),
    "two pushes of an image": ([push(INDEX, "a")], push(IMAGE, "b"), push(IMAGE, "c")),
    "two images": ([push(INDEX, "a"), push(OUTER)], push(IMAGE), push(OTHER_IMAGE)),
    "image and its untagged index": (
        [push(INDEX), push(OUTER), expire],
        push(IMAGE, "a"),
        collect_untagged,
    ),
    "image and its deleted index": (
        [push(INDEX), push(OUTER), delete(INDEX), delete(OUTER), expire],
        push(IMAGE, "a"),
        collect_deleted,
    ),
    "index again and its collection": (
        [push(INDEX), delete(INDEX), expire],
        push(INDEX, "a"),
        collect_deleted,
    ),
    "image again and its collection": (
        [push(IMAGE), push(INDEX), push(OUTER), delete(IMAGE), expire],
        push(IMAGE, "a"),
        collect_deleted,
    ),
    "index and a deleted image": (
        [push(IMAGE), delete(IMAGE), expire],
        push(INDEX, "a"),
        collect_deleted,
    ),
    "index and an untagged image": (
        [push(IMAGE), push(OTHER_IMAGE), expire],
        push(INDEX, "a"),
        collect_untagged,
    ),
    "index and the deletion of its image": ([push(IMAGE)], push(INDEX, "a"), delete(IMAGE)),
    "image again and the deletion of its index": (
        [push(IMAGE), push(INDEX, "a")],
        push(IMAGE, "b"),
        delete(INDEX),
    ),
    "both collections": (
        [push(IMAGE), push(INDEX), push(OUTER), delete(IMAGE), expire],
        collect_deleted,
        collect_untagged,
    ),
    "two collections of an index with its image": (
        [push(IMAGE), push(INDEX), push(OUTER), delete(IMAGE), delete(OUTER), expire],
        collect_deleted,
        collect_deleted,
    ),
    "restored image and index": (
        [push(IMAGE, "a"), delete(IMAGE), push(OTHER_IMAGE)],
        restore(IMAGE, "a"),
        push(INDEX, "b"),
    ),
}


@pytest.mark.parametrize("reversed_", [False, True], ids=["", "reversed"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_two_changes_leave_right_records_wherever_the_first_is_interrupted(
    world: World, name: str, *, reversed_: bool
) -> None:
    before, *changes = SCENARIOS[name]
    for change in before:
        change(world.site)
    beginning = world.snapshots.take()
    first_change, second_change = reversed(changes) if reversed_ else changes
    stop, state = 0, State.STOPPED
    while state is not State.ENDED:
        world.snapshots.restore(beginning)
        first, second = world.start(first_change), world.start(second_change)
        state = first.advance(Stop(ANY, stop))
        second.advance(None)
        first.finish(second)
        assert (first.error, second.error) == (None, None), (stop, first.stops, second.stops)
        assert wrong_references(world.site.database) == [], (stop, first.stops, second.stops)
        stop += 1
    assert stop > 2


DELETION_SCENARIOS: dict[str, tuple[list[Change], Change]] = {
    "image": ([push(INDEX, "a"), push(OUTER, "b")], push(IMAGE, "a")),
    "image again": (
        [push(IMAGE, "b"), push(INDEX, "a"), push(OUTER), push(OTHER_IMAGE)],
        push(IMAGE, "a"),
    ),
    "index": ([push(IMAGE, "a"), push(OUTER, "b")], push(INDEX, "a")),
    "index again": ([push(IMAGE, "a"), push(INDEX, "b"), push(OUTER)], push(INDEX, "a")),
    "collection of an image": (
        [push(IMAGE, "a"), push(INDEX), push(OUTER), delete(IMAGE), expire],
        collect_deleted,
    ),
    "collection of an index": ([push(INDEX), push(OUTER), expire], collect_untagged),
}


@pytest.mark.parametrize("reversed_", [False, True], ids=["", "reversed"])
@pytest.mark.parametrize("name", DELETION_SCENARIOS)
def test_changes_and_the_deletion_of_their_repository_do_not_deadlock(
    world: World, name: str, *, reversed_: bool
) -> None:
    before, change = DELETION_SCENARIOS[name]
    for one in before:
        one(world.site)
    beginning = world.snapshots.take()
    stop, state = 0, State.STOPPED
    while state is not State.ENDED:
        world.snapshots.restore(beginning)
        changed, deleted = world.start(change), world.start(delete_repository)
        first, second = (deleted, changed) if reversed_ else (changed, deleted)
        state = first.advance(Stop(ANY, stop))
        second.advance(None)
        first.finish(second)
        assert deleted.error is None, (stop, first.stops, second.stops)
        # The repository may have been deleted before a push, or between its two statements.
        assert isinstance(changed.error, ManifestBlobUnknown | type(None)), (stop, changed.error)
        assert wrong_references(world.site.database) == []
        stop += 1
    assert stop > 2


IMAGES = [image(number) for number in range(6)]
INNER = [index(*IMAGES[:3], number=1), index(*IMAGES[2:], number=2)]
CONTENTS = [*IMAGES, *INNER, index(*INNER, IMAGES[0]), index(*IMAGES, INNER[1])]
TAGS = ["a", "b", "c"]


class Client:
    """A thread that changes the repository at random, until the first error of any."""

    def __init__(self, site: MemorySite, seed: int, changes: int, over: threading.Event) -> None:
        self.error: BaseException | None = None
        self._site = site
        self._random = random.Random(seed)
        self._changes = changes
        self._over = over
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            for _ in range(self._changes):
                if not self._over.is_set():
                    self._change()
        except BaseException as error:
            self.error = error
            self._over.set()

    def _change(self) -> None:
        content, tag = self._random.choice(CONTENTS), self._random.choice([*TAGS, None])
        kind = self._random.choice(
            ["push"] * 6 + ["delete"] * 2 + ["restore", "expire"] + ["collect"] * 2
        )
        if kind == "push":
            push(content, tag)(self._site)
        elif kind == "collect":
            collect_deleted(self._site)
            collect_untagged(self._site)
        elif kind == "expire":
            self._site.database.run(
                f"{_EXPIRE} - interval '1 day' WHERE id IN (SELECT id FROM manifest"
                " WHERE random() < 0.5 ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)"
            )
        else:
            change = delete(content) if kind == "delete" else restore(content, tag or "a")
            try:
                change(self._site)
            except ManifestUnknown:
                return


@pytest.mark.parametrize(
    "changes",
    [pytest.param(150, id="short"), pytest.param(5000, id="long", marks=pytest.mark.long)],
)
def test_concurrent_changes_leave_right_records_and_never_deadlock(
    make_database: Callable[[], str], tmp_path: Path, changes: int
) -> None:
    registry = make_registry(make_database(), tmp_path, ["us", "eu"], _SETTINGS)
    sites = [registry["us"], registry["eu"]]
    sites[0].push(CONFIG)
    over = threading.Event()
    clients = [Client(sites[seed % 2], seed, changes, over) for seed in range(6)]
    for client in clients:
        client.thread.join()
    assert [client.error for client in clients] == [None] * len(clients)
    assert wrong_references(sites[0].database) == []
    assert sites[0].database.read(_DEADLOCKS) == [[0]]
