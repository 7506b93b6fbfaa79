"""Bytes that a worker transfers, and those it need not: resumed copies, copies within one store."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from atoll.config.stores import RadosGatewaySettings
from atoll.db.wake_ups import REPLICATION_CHANNEL
from atoll.names import Digest
from atoll.placement.tasks import Tasks
from atoll.replication.copier import Copier
from atoll.storage.base import blob_key
from atoll.storage.drivers import make_store
from atoll.storage.errors import ObjectChanged, ObjectMissing
from atoll.storage.multipart import PART_MINIMUM
from atoll.storage.s3 import server_side_copy
from atoll.storage.s3.driver import S3ObjectStore

from .counting_proxy import CountingProxy, counting_proxy
from .images import LARGE
from .placements import both_locations, object_key, placements
from .s3_settings import gateway
from .services import Services, Store, wait_until
from .site import Client, Site, running_site

REPOSITORY = "admin/app"


class NoHold:
    """A lease that never stops a transfer."""

    def check(self) -> None:
        return

    def throttle(self, size: int) -> None:
        del size

    def record_upload(self, upload_id: str | None) -> None:
        del upload_id


@pytest.fixture
def proxy_to_eu(services: Services) -> Iterator[CountingProxy]:
    with counting_proxy(services.eu.port) as proxy:
        yield proxy


@pytest.fixture
def eu_behind_proxy(
    services: Services, database: str, tmp_path: Path, proxy_to_eu: CountingProxy
) -> Iterator[Site]:
    """The site eu, with a proxy in front of its own store."""
    seen = replace(services, eu=replace(services.eu, port=proxy_to_eu.port))
    with running_site(seen, database, tmp_path / "eu", "eustorage,usstorage") as site:
        yield site


def make_content(length: int) -> bytes:
    return os.urandom(1_000_000) * (length // 1_000_000)


def test_a_large_copy_with_repeated_crashes_sends_less_than_twice_its_size(
    us: Site, eu_behind_proxy: Site, proxy_to_eu: CountingProxy, services: Services
) -> None:
    data = make_content(LARGE)
    digest = Client(us).push_blob(REPOSITORY, data)
    kills, chance = 0, random.Random()
    while placements(us, digest) != both_locations() and kills < 4:
        before = proxy_to_eu.sent_bytes
        eu_behind_proxy.start_worker()
        goal = before + chance.randint(1, 2 * PART_MINIMUM)
        wait_until(
            "bytes were sent",
            lambda goal=goal: (
                proxy_to_eu.sent_bytes > goal or placements(us, digest) == both_locations()
            ),  # type: ignore[misc]
        )
        eu_behind_proxy.stop_worker(kill=True)
        kills += 1
        # The test does not wait for the killed worker's lease to expire.
        us.services.database.run("UPDATE replicationtask SET lease_expires = now()")
    eu_behind_proxy.start_worker()
    wait_until("the blob is at both locations", lambda: placements(us, digest) == both_locations())
    answer = services.eu.client.get_object(Bucket=services.eu.bucket, Key=object_key(digest))
    assert hashlib.sha256(answer["Body"].read()).hexdigest() == digest.partition(":")[2]
    assert kills > 1
    assert proxy_to_eu.sent_bytes < 2 * len(data)
    assert services.eu.open_uploads() == 0


def test_small_and_large_blobs_do_not_wait_for_each_other(us: Site, eu: Site) -> None:
    large = Client(us).push_blob(REPOSITORY, make_content(9_000_000))
    small = [Client(us).push_blob(REPOSITORY, os.urandom(10)) for _ in range(3)]
    at_eu = Tasks(us.services.database, "eustorage")
    assert [str(task.digest) for task in at_eu.claim(large=True, limit=9)] == [large]
    assert [str(task.digest) for task in at_eu.claim(large=False, limit=9)] == small
    us.services.database.run("UPDATE replicationtask SET lease_expires = now()")
    eu.start_worker()
    blobs = {large, *small}
    wait_until(
        "all blobs are at both locations",
        lambda: all(placements(us, digest) == both_locations() for digest in blobs),
    )


def test_a_push_wakes_up_the_worker_of_the_other_location(us: Site) -> None:
    connection = us.services.database.connect()
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {REPLICATION_CHANNEL}")
        Client(us).push_blob(REPOSITORY, b"new")

        def is_woken() -> bool:
            cursor.execute("SELECT 1")
            return bool(connection.notifies)

        wait_until("the notification arrives", is_woken)
    assert {notice.payload for notice in connection.notifies} == {"eustorage"}
    connection.close()


def two_buckets(store: Store, proxy: CountingProxy) -> tuple[S3ObjectStore, S3ObjectStore]:
    """Two locations of one service, reached through a proxy."""
    settings = gateway(RadosGatewaySettings, replace(store, port=proxy.port))
    other = settings.model_copy(update={"storage_path": "/another/path"})
    one, two = (
        make_store(name, given, ca_bundle=str(store.certificate))
        for name, given in (("one", settings), ("two", other))
    )
    assert isinstance(one, S3ObjectStore)
    assert isinstance(two, S3ObjectStore)
    return one, two


@pytest.mark.parametrize("single_maximum", [server_side_copy.SINGLE_MAXIMUM, 2**20])
def test_a_copy_within_one_store_is_made_by_the_store_after_hashing(
    services: Services,
    proxy_to_eu: CountingProxy,
    monkeypatch: pytest.MonkeyPatch,
    single_maximum: int,
) -> None:
    monkeypatch.setattr(server_side_copy, "SINGLE_MAXIMUM", single_maximum)
    monkeypatch.setattr(server_side_copy, "PART_SIZE", 8 * 2**20)
    one, two = two_buckets(services.eu, proxy_to_eu)
    data = make_content(20_000_000)
    digest = Digest.parse(f"sha256:{hashlib.sha256(data).hexdigest()}")
    one.put(blob_key(digest), data, len(data))
    before = proxy_to_eu.sent_bytes
    Copier({"one": one, "two": two}, "two").copy(digest, len(data), ["one"], NoHold(), None)
    assert proxy_to_eu.sent_bytes - before < len(data) / 10
    assert b"".join(two.read(blob_key(digest))) == data
    for store in (one, two):
        store.delete(blob_key(digest))


def test_an_object_that_changes_after_hashing_is_not_copied_within_the_store(
    services: Services, proxy_to_eu: CountingProxy
) -> None:
    one, two = two_buckets(services.eu, proxy_to_eu)
    one.put("sha256/ab/abcd", b"hashed", 6)
    with pytest.raises(ObjectChanged):
        two.copy_from(one, "sha256/ab/abcd", 6, lambda: one.put("sha256/ab/abcd", b"later!", 6))
    with pytest.raises(ObjectMissing):
        two.size("sha256/ab/abcd")
    one.delete("sha256/ab/abcd")
