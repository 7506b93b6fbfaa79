"""Concurrent pushes, cancellations, collections and late deletions of blobs lose no data."""

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

from ..caches import RecordingCache
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

# The fraction of deletions without a response, and their delay, which is long enough for a push of
# the same bytes.
_UNANSWERED = 0.7
_LATE_SECONDS = 0.5
# The fraction of images that is kept.
_KEPT = 0.05


class Unreliable:
    """Leaves some deletions at the stores of `site` unanswered, and carries them out later."""

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
        """Wait, carry out all late deletions, and end the period in which they are uncertain."""
        time.sleep(_LATE_SECONDS)
        with self._lock:
            # A deletion must be carried out before its outcome stops being uncertain.
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
    """Pushes images of one blob to its own repository, keeps some and deletes the others."""

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

    def push_once(self) -> None:
        """Push an image, which must stay intact until the next call deletes it."""
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
            # Clients push again, as the error message asks them to.
            return
        self.acknowledged += 1
        if self.random.random() < _KEPT:
            self.kept[content] = manifest
        else:
            self.deleted_next = content, manifest

    def _push_blob(self, content: bytes) -> bool:
        uploads, digest = self.site.graph.uploads, Digest.of(content)
        mounts = self.site.graph.blob_mounts
        way = self.random.choice(["whole", "chunk", "chunks", "cancel", "cancel", "mount"])
        if way == "mount" and mounts.mount_from_any(self.name, digest, SUPERUSER):
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
    """Assert that `content` has a good placement, and each of them has its bytes."""
    digest = Digest.of(content)
    good = [name for name, state in site.placements(digest).items() if state == "good"]
    assert good
    assert all(site.has_object(name, digest) for name in good), (digest, good)


def collect(site: MemorySite) -> None:
    """Collect all unneeded blobs, and delete their objects."""
    Collector(site.database, site.graph.bundle, RecordingCache()).step()
    # Skip the backoff of failed deletions.
    site.database.run(
        "UPDATE objectdeletion SET available_at = now() WHERE id IN (SELECT id FROM objectdeletion"
        " WHERE lease_token IS NULL AND attempts > 0 ORDER BY id FOR UPDATE SKIP LOCKED)"
    )
    for location in site.stores:
        DeleteQueue(site.database, site.graph.content, location).turn()


def delete_leftovers(site: MemorySite) -> None:
    site.database.run(
        "UPDATE blobupload SET changed_at = changed_at - interval '1 hour' WHERE uuid IN ("
        "SELECT uuid FROM blobupload WHERE ended FOR UPDATE SKIP LOCKED)"
    )
    site.graph.uploads.delete_leftovers()


def run_concurrently(turns: int, pushers: list[Pusher], others: list[Callable[[], None]]) -> None:
    """Run each pusher `turns` times, while `others` run repeatedly."""
    over = threading.Event()

    def repeat(work: Callable[[], None]) -> None:
        while not over.is_set():
            work()

    def push(pusher: Pusher) -> None:
        for _ in range(turns):
            pusher.push_once()

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
def test_no_acknowledged_blob_is_lost(
    make_database: Callable[[], str], tmp_path: Path, turns: int
) -> None:
    registry = make_registry(make_database(), tmp_path, ["us", "eu", "ap"], HURRY)
    us, eu = registry["us"], registry["eu"]
    unreliable = Unreliable(us, seed=1)
    pushers = [Pusher(us, 1), Pusher(us, 2), Pusher(eu, 3)]
    others = [
        lambda: collect(us),
        lambda: collect(eu),
        lambda: delete_leftovers(us),
        unreliable.carry_out,
    ]
    run_concurrently(turns, pushers, others)
    unreliable.carry_out()
    assert unreliable.carried_out
    assert all(pusher.acknowledged for pusher in pushers)
    for pusher in pushers:
        for content in pusher.kept:
            require_safe(us, content)
