"""Pushes, cancellations, collections and late deletions of the same blobs at once lose nothing."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from atoll.names import Digest, RepositoryName
from atoll.placement.delete_queue import DeleteQueue
from atoll.placement.upkeep.garbage import Collector
from atoll.registry.errors import DeletionUnresolved, ManifestBlobUnknown
from atoll.storage.base import blob_key
from atoll.storage.errors import StoreUnavailable

from .sites import MANIFEST_TYPE, SUPERUSER, MemorySite, image_manifest, make_registry
from .uploads import request_body

CONTENTS = [b"content %d" % number for number in range(16)]
KEYS = {blob_key(Digest.of(content)): Digest.of(content) for content in CONTENTS}

HURRY: dict[str, object] = {
    "GARBAGE_COLLECTION_GRACE": "0s",
    "GARBAGE_COLLECTION_FAILOVER_WINDOW": "0s",
    "PUSH_TEMP_TAG_EXPIRATION_SEC": 1,
    "DEFAULT_TAG_EXPIRATION": "0s",
    "TAG_EXPIRATION_OPTIONS": ["0s"],
}

# The part of the deletions that have no answer, and how much later they are carried out: long
# enough for a push of the same bytes.
_UNANSWERED = 0.7
_LATE_SECONDS = 0.5
# The part of the images that is not deleted.
_KEPT = 0.05


class Unreliable:
    """Lets some deletions at `site`'s stores go unanswered, and carries them out later."""

    def __init__(self, site: MemorySite, seed: int) -> None:
        self.late: list[tuple[str, str]] = []
        self.carried_out = 0
        self._site = site
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        for location, store in site.stores.items():
            store.fault = lambda operation, key, location=location: self._fail(
                location, operation, key
            )

    def _fail(self, location: str, operation: str, key: str) -> None:
        if operation != "delete" or key not in KEYS:
            return
        with self._lock:
            if self._random.random() < _UNANSWERED:
                self.late.append((location, key))
                raise StoreUnavailable(location, "ReadTimeoutError")

    def carry_out(self) -> None:
        """Wait a moment, carry out all late deletions, and end their uncertainty."""
        time.sleep(_LATE_SECONDS)
        with self._lock:
            # No deletion of an object may remain when its uncertainty ends.
            for location, key in set(self.late):
                self._site.stores[location].objects.pop(key, None)
                self._site.database.run(
                    "UPDATE contentdeletion SET deleted_at = clock_timestamp(),"
                    " unknown_until = clock_timestamp()"
                    " WHERE digest = %s AND location = %s AND deleter IS NULL",
                    [str(KEYS[key]), location],
                )
            self.carried_out += len(self.late)
            self.late.clear()


class Pusher:
    """Pushes images of one blob to a repository of its own, keeps some and deletes the others."""

    def __init__(self, site: MemorySite, number: int) -> None:
        graph = site.graph
        self.site = site
        self.name = RepositoryName(SUPERUSER, f"app{number}")
        self.random = random.Random(number)
        self.kept: dict[bytes, bytes] = {}
        self.deleted_next: tuple[bytes, bytes] | None = None
        self.acknowledged = 0
        graph.uploads.start(self.name, SUPERUSER)
        self.manifests = site.manifests()

    def turn(self) -> None:
        """Push an image; it must be safe from then on, until the next turn deletes it."""
        self._push_image(self.random.choice(CONTENTS))
        time.sleep(_LATE_SECONDS / 5)
        for content in self.kept:
            require_safe(self.site, content)
        if self.deleted_next is not None:
            content, manifest = self.deleted_next
            self.deleted_next = None
            if content not in self.kept:
                require_safe(self.site, content)
                self.manifests.delete(self.name, Digest.of(manifest))

    def _push_image(self, content: bytes) -> None:
        try:
            if not self._push_blob(content):
                return
            manifest = image_manifest(content, [])
            tag = f"v{CONTENTS.index(content)}"
            self.manifests.put(self.name, tag, manifest, MANIFEST_TYPE, tags=[], username=SUPERUSER)
        except (ManifestBlobUnknown, DeletionUnresolved):
            # As a client is told; it pushes again.
            return
        self.acknowledged += 1
        if self.random.random() < _KEPT:
            self.kept[content] = manifest
        else:
            self.deleted_next = content, manifest

    def _push_blob(self, content: bytes) -> bool:
        uploads, digest = self.site.graph.uploads, Digest.of(content)
        way = self.random.choice(["whole", "chunk", "chunks", "cancel", "cancel", "mount"])
        if way == "mount" and self.site.graph.blobs.mount_from_any(self.name, digest, SUPERUSER):
            return True
        upload = uploads.start(self.name, SUPERUSER)
        pieces = {"chunk": [content], "cancel": [content], "chunks": [content[:3], content[3:]]}
        for piece in pieces.get(way, []):
            upload = uploads.append(upload, request_body(piece))
        if way == "cancel":
            uploads.cancel(self.name, upload.uuid)
            return False
        uploads.finish(upload, digest, request_body(b"" if way in pieces else content))
        return True


def require_safe(site: MemorySite, content: bytes) -> None:
    """Raise unless each good placement of `content`, and one at least, has its bytes."""
    digest = Digest.of(content)
    good = [name for name, state in site.placements(digest).items() if state == "good"]
    assert good
    assert all(site.has_object(name, digest) for name in good), (digest, good)


def collect(site: MemorySite) -> None:
    """Collect everything that nothing needs at this moment, and delete the objects."""
    Collector(site.database, site.graph.bundle, lambda _digest: None).step()
    # Without the backoff of what failed.
    site.database.run(
        "UPDATE objectdeletion SET available_at = now() WHERE id IN (SELECT id FROM objectdeletion"
        " WHERE lease_token IS NULL AND attempts > 0 ORDER BY id FOR UPDATE SKIP LOCKED)"
    )
    for location in site.stores:
        DeleteQueue(site.database, site.graph.content, location).turn()


def clear_leftovers(site: MemorySite) -> None:
    site.database.run(
        "UPDATE blobupload SET changed_at = changed_at - interval '1 hour' WHERE uuid IN ("
        "SELECT uuid FROM blobupload WHERE ended FOR UPDATE SKIP LOCKED)"
    )
    site.graph.uploads.delete_leftovers()


def run_at_once(turns: int, pushers: list[Pusher], others: list[Callable[[], None]]) -> None:
    """Give each pusher so many `turns`, while the `others` repeat."""
    over = threading.Event()

    def repeat(work: Callable[[], None]) -> None:
        while not over.is_set():
            work()

    def push(pusher: Pusher) -> None:
        for _ in range(turns):
            pusher.turn()

    with ThreadPoolExecutor(len(pushers) + len(others)) as executor:
        background = [executor.submit(repeat, work) for work in others]
        try:
            for one in [executor.submit(push, pusher) for pusher in pushers]:
                one.result()
        finally:
            over.set()
        for one in background:
            one.result()


@pytest.mark.parametrize(
    "turns", [pytest.param(40, id="short"), pytest.param(1500, id="long", marks=pytest.mark.long)]
)
def test_nothing_acknowledged_is_lost(
    make_database: Callable[[], str], tmp_path: Path, turns: int
) -> None:
    registry = make_registry(make_database(), tmp_path, ["us", "eu", "ap"], HURRY)
    us, eu = registry["us"], registry["eu"]
    unreliable = Unreliable(us, seed=1)
    pushers = [Pusher(us, 1), Pusher(us, 2), Pusher(eu, 3)]
    others = [
        lambda: collect(us),
        lambda: collect(eu),
        lambda: clear_leftovers(us),
        unreliable.carry_out,
    ]
    run_at_once(turns, pushers, others)
    unreliable.carry_out()
    assert unreliable.carried_out
    assert all(pusher.acknowledged for pusher in pushers)
    for pusher in pushers:
        for content in pusher.kept:
            require_safe(us, content)
