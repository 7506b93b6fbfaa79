"""Workers die at any moment while pushes go on; what was acknowledged is everywhere afterwards."""

from __future__ import annotations

import hashlib
import os
import random
import threading

import pytest

from .services import Services, Store, wait_until
from .site import Client, Site
from .test_replication import both, key, placements

REPOSITORY = "admin/app"
KILLS = 50
MEBIBYTE = 2**20


class Pushing(threading.Thread):
    """Pushes blobs of all sizes until it is told to end; remembers those that were acknowledged."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.digests: list[str] = []
        self.failure: BaseException | None = None
        self._client = Client(site)
        self._end = threading.Event()

    def run(self) -> None:
        chance = random.Random()
        try:
            while not self._end.is_set():
                sizes = [chance.randint(0, MEBIBYTE) for _ in range(8)]
                for size in [*sizes, chance.randint(9, 40) * MEBIBYTE]:
                    data = os.urandom(min(size, MEBIBYTE)) * max(1, size // MEBIBYTE)
                    self.digests.append(self._client.push_blob(REPOSITORY, data))
                # The disk is not what is tested.
                self._end.wait(2)
        except BaseException as error:
            self.failure = error

    def end(self) -> None:
        self._end.set()
        self.join()
        assert self.failure is None, self.failure


def stored_digest(store: Store, digest: str) -> str:
    body = store.client.get_object(Bucket=store.bucket, Key=key(digest))["Body"]
    hasher = hashlib.sha256()
    for piece in body.iter_chunks(MEBIBYTE):
        hasher.update(piece)
    return f"sha256:{hasher.hexdigest()}"


@pytest.mark.long
def test_after_many_kills_every_acknowledged_push_is_everywhere_and_good(
    us: Site, eu: Site, services: Services
) -> None:
    pushing, chance = Pushing(us), random.Random()
    pushing.start()
    placed_meanwhile = 0
    for _ in range(KILLS):
        eu.start_worker()
        eu.wait_for_worker()
        # At any moment of its work: that is what the pause is for.
        threading.Event().wait(chance.uniform(0, 1))
        eu.stop_worker(kill=True)
        placed_meanwhile = len(placed_at_eu(us))
        us.graph.database.run("UPDATE replicationtask SET lease_expires = now()")
    pushing.end()
    assert placed_meanwhile > 0
    eu.start_worker()
    wait_until("nothing is left to copy", lambda: not tasks(us), seconds=600)
    for digest in pushing.digests:
        assert placements(us, digest) == both()
        for store in services.stores():
            assert stored_digest(store, digest) == digest
    assert services.eu.open_uploads() == 0


def tasks(site: Site) -> int:
    return int(site.graph.database.read("SELECT count(*) FROM replicationtask")[0][0])


def placed_at_eu(site: Site) -> set[str]:
    rows = site.graph.database.read(
        "SELECT s.content_checksum FROM imagestorage s"
        " JOIN imagestorageplacement p ON p.storage_id = s.id"
        " JOIN imagestoragelocation l ON l.id = p.location_id WHERE l.name = 'eustorage'"
    )
    return {row[0] for row in rows}
