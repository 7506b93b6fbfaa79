"""Pushes of the same content race with collectors that are killed; what was acknowledged stays."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from atoll.names import Digest

from .services import Services, wait_until
from .site import MANIFEST_TYPE, Client, Site, running_site
from .test_garbage import delete_manifest
from .test_replication import key

ROUNDS = 60
THREADS = 4
KILLS = 5
# So few that pushes, deletions and copies of the same blob meet all the time.
CONTENTS = [b'{"content": %d}' % number for number in range(4)]

HURRY: dict[str, object] = {
    "GARBAGE_COLLECTION_GRACE": "0s",
    "GARBAGE_COLLECTION_FREQUENCY": 1,
    "PUSH_TEMP_TAG_EXPIRATION_SEC": 1,
    "DEFAULT_TAG_EXPIRATION": "0s",
    "TAG_EXPIRATION_OPTIONS": ["0s"],
}

pytestmark = pytest.mark.long


@pytest.fixture
def sites(services: Services, database: str, tmp_path: Path) -> Iterator[list[Site]]:
    with (
        running_site(services, database, tmp_path / "us", "usstorage,eustorage", HURRY) as us,
        running_site(services, database, tmp_path / "eu", "eustorage,usstorage", HURRY) as eu,
    ):
        yield [us, eu]


def image(content: bytes, owner: str) -> bytes:
    """A manifest of the content, with its owner's name in it, so that each owner has its own."""
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
    """Pushes an image, looks whether it can be pulled, and deletes it, again and again."""

    def __init__(self, site: Site, number: int) -> None:
        self.client = Client(site)
        self.repository = f"admin/app{number}"
        self.scope = f"repository:{self.repository}:pull,push"
        self.random = random.Random(number)
        self.acknowledged = 0
        self.kept: list[bytes] = []

    def push(self, content: bytes) -> bool:
        """Push an image; False if its blob went before the manifest came, as a client is told."""
        manifest = image(content, self.repository)
        self.client.push_blob(self.repository, content)
        answer = self.client.request(
            "PUT",
            f"/v2/{self.repository}/manifests/{Digest.of(manifest)}",
            self.scope,
            headers={"Content-Type": MANIFEST_TYPE},
            data=manifest,
        )
        assert answer.status_code in {201, 404}, answer.text
        return answer.status_code == 201

    def look(self, content: bytes) -> None:
        answer = self.client.pull_blob(self.repository, str(Digest.of(content)))
        assert (answer.status_code, answer.content) == (200, content)

    def run(self) -> None:
        for _ in range(ROUNDS):
            content = self.random.choice(CONTENTS)
            if self.push(content):
                self.acknowledged += 1
                self.look(content)
                delete_manifest(self.client, image(content, self.repository), self.repository)
        for content in CONTENTS[:2]:
            while not self.push(content):
                continue
            self.kept.append(content)


def kill_workers(sites: list[Site]) -> None:
    """Kill a site's worker, which collects garbage, too, at some moments, and start it again."""
    chance, pause = random.Random(1), threading.Event()
    for site in sites:
        site.start_worker()
    for _ in range(KILLS):
        site = chance.choice(sites)
        pause.wait(chance.uniform(1, 3))
        site.stop_worker(kill=True)
        site.start_worker()


def expect_what_was_kept(site: Site, pusher: Pusher) -> None:
    for content in pusher.kept:
        answer = Client(site).pull_blob(pusher.repository, str(Digest.of(content)))
        assert (answer.status_code, answer.content) == (200, content)


def test_no_acknowledged_push_is_lost_while_collectors_die_and_copies_go_on(
    sites: list[Site], services: Services
) -> None:
    us, eu = sites
    pushers = [Pusher(sites[number % 2], number) for number in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as executor:
        running = [executor.submit(pusher.run) for pusher in pushers]
        kill_workers(sites)
        for one in running:
            one.result()
    assert all(pusher.acknowledged for pusher in pushers)
    assert us.command("replication", "wait", "--timeout", "120").returncode == 0
    # What nobody needs goes from everywhere, once the leases of the dead have ended.
    kept = {key(str(Digest.of(content))) for content in CONTENTS[:2]}
    wait_until("the rest is gone", lambda: services.us.objects() == kept == services.eu.objects())
    for pusher in pushers:
        expect_what_was_kept(us, pusher)
        expect_what_was_kept(eu, pusher)
    assert us.command("verify", "--full").returncode == 0
    for location in ("usstorage", "eustorage"):
        assert us.command("inventory", location, "--older-than", "0s").returncode == 0
