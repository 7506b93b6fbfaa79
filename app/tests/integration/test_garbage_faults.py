"""Pushes race with collectors that are killed: no acknowledged content is lost."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from atoll.names import Digest

from .images import delete_manifest
from .placements import object_key
from .services import Services, wait_until
from .site import MANIFEST_TYPE, Client, Site, running_site

THREADS = 4
KILLS = 6
# Each is pushed every few seconds: rarely enough to become garbage and be collected, and often
# enough that pushes, deletions and copies of the same blob overlap all the time.
CONTENTS = [b'{"content": %d}' % number for number in range(32)]
# Images of these are kept.
KEPT = CONTENTS[:8]

FAST_COLLECTION: dict[str, object] = {
    "GARBAGE_COLLECTION_GRACE": "0s",
    "GARBAGE_COLLECTION_FAILOVER_WINDOW": "0s",
    "GARBAGE_COLLECTION_FREQUENCY": 1,
    "PUSH_TEMP_TAG_EXPIRATION_SEC": 1,
    "DEFAULT_TAG_EXPIRATION": "0s",
    "TAG_EXPIRATION_OPTIONS": ["0s"],
}

pytestmark = pytest.mark.long


@pytest.fixture
def sites(services: Services, database: str, tmp_path: Path) -> Iterator[list[Site]]:
    with (
        running_site(
            services, database, tmp_path / "us", "usstorage,eustorage", FAST_COLLECTION
        ) as us,
        running_site(
            services, database, tmp_path / "eu", "eustorage,usstorage", FAST_COLLECTION
        ) as eu,
    ):
        yield [us, eu]


def image(content: bytes, owner: str) -> bytes:
    """Return a manifest of the content that differs for each owner."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": str(Digest.of(content)),
                "size": len(content),
            },
            "layers": [],
            "annotations": {"owner": owner},
        }
    ).encode()


class Pusher:
    """Pushes images, verifies that they can be pulled, and keeps or deletes them."""

    def __init__(self, site: Site, number: int) -> None:
        self.client = Client(site)
        self.repository = f"admin/app{number}"
        self.scope = f"repository:{self.repository}:pull,push"
        self.random = random.Random(number)
        self.acknowledged = 0
        self.kept: set[bytes] = set()

    def push(self, content: bytes) -> bool:
        """Push an image; return False if a blob was collected before the manifest arrived.

        The client then gets an error that asks for the blob.
        """
        manifest = image(content, self.repository)
        self.client.push_blob(self.repository, content)
        answer = self.client.request(
            "PUT",
            f"/v2/{self.repository}/manifests/v{CONTENTS.index(content)}",
            self.scope,
            headers={"Content-Type": MANIFEST_TYPE},
            data=manifest,
        )
        assert answer.status_code in {201, 404}, answer.text
        return answer.status_code == 201

    def verify(self, content: bytes) -> None:
        answer = self.client.pull_blob(self.repository, str(Digest.of(content)))
        assert (answer.status_code, answer.content) == (200, content)

    def run(self, over: threading.Event) -> None:
        """Push until the event is set; all the time, acknowledged content can be pulled."""
        while not over.is_set():
            content = self.random.choice(CONTENTS)
            if not self.push(content):
                continue
            self.acknowledged += 1
            self.verify(content)
            if content in KEPT:
                self.kept.add(content)
            else:
                delete_manifest(self.client, image(content, self.repository), self.repository)
            for one in self.kept:
                self.verify(one)


def count_logged(site: Site, message: str) -> int:
    """Return how often the site's workers, including killed ones, logged a message."""
    return (site.directory / "worker.log").read_text().count(f'"{message}"')


def kill_collecting_workers(sites: list[Site]) -> None:
    """Kill and restart the workers in turn, each a moment after it collected something."""
    chance, pause = random.Random(1), threading.Event()
    for site in sites:
        site.start_worker()
    for number in range(KILLS):
        site = sites[number % len(sites)]
        site.wait_for_worker()
        before = count_logged(site, "blobs collected")
        wait_until(
            "the worker collects a blob",
            lambda site=site, before=before: count_logged(site, "blobs collected") > before,
        )
        # It is deleting objects, or collecting the next blobs, now.
        pause.wait(chance.uniform(0, 3))
        site.stop_worker(kill=True)
        site.start_worker()


def assert_kept_content(site: Site, pusher: Pusher) -> None:
    for content in pusher.kept:
        answer = Client(site).pull_blob(pusher.repository, str(Digest.of(content)))
        assert (answer.status_code, answer.content) == (200, content)


def test_no_acknowledged_push_is_lost_while_collectors_are_killed(
    sites: list[Site], services: Services
) -> None:
    us, eu = sites
    pushers = [Pusher(sites[number % 2], number) for number in range(THREADS)]
    over = threading.Event()
    with ThreadPoolExecutor(THREADS) as executor:
        running = [executor.submit(pusher.run, over) for pusher in pushers]
        try:
            kill_collecting_workers(sites)
        finally:
            over.set()
        for one in running:
            one.result()
    assert all(pusher.acknowledged and pusher.kept for pusher in pushers)
    assert us.command("replication", "wait", "--timeout", "120").returncode == 0
    assert all(count_logged(site, "blob copied") for site in sites)
    # Garbage is deleted everywhere once the leases of killed workers have expired.
    kept = {object_key(str(Digest.of(one))) for one in set().union(*(one.kept for one in pushers))}
    wait_until(
        "all other objects are deleted",
        lambda: services.us.objects() == kept == services.eu.objects(),
        300,
    )
    for pusher in pushers:
        assert_kept_content(us, pusher)
        assert_kept_content(eu, pusher)
    assert us.command("verify", "--full").returncode == 0
    for location in ("usstorage", "eustorage"):
        assert us.command("inventory", location, "--older-than", "0s").returncode == 0
