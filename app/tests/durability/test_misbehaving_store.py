"""A store that acknowledges writes without storing them never counts as a second copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from atoll.config.stores import RadosGatewaySettings
from atoll.names import Digest
from atoll.placement.locations.errors import ChangeRefused
from atoll.placement.locations.remove import Removal
from atoll.placement.locations.states import LocationTable
from atoll.storage.base import blob_key
from atoll.storage.prober import Prober
from atoll.storage.s3.driver import S3ObjectStore

from ..integration.services import wait_until
from ..unit.s3_server import PAGE, S3Server, gateway_of, s3_server
from .sites import MemoryRegistry, MemorySite

SMALL = [f"blob {number}".encode() for number in range(20)]
LARGE = b"x" * (9 * 2**20)


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def eu(registry: MemoryRegistry, server: S3Server) -> MemorySite:
    """The site eu, whose store is the server behind the real driver; a probe succeeded."""
    site = registry["eu"]
    settings = RadosGatewaySettings.model_validate(gateway_of(server))
    store = S3ObjectStore("eu", settings, observe=site.locations.health.observe)
    site.locations.stores["eu"] = store
    probe(site)
    assert site.locations.health.state("eu").healthy
    return site


def probe(site: MemorySite) -> None:
    store = site.locations.stores["eu"]
    Prober({"eu": store}, site.locations.health).probe_once(store)


def answer_with_a_page(server: S3Server) -> None:
    server.page = PAGE


def answer_with_an_empty_body(server: S3Server) -> None:
    server.page = b""


def drop_writes(server: S3Server) -> None:
    server.drops, server.etag = True, lambda _md5: None


def damage_writes(server: S3Server) -> None:
    server.etag = lambda _md5: '"00000000000000000000000000000000"'


Fault = Callable[[S3Server], None]


@pytest.mark.parametrize(
    ("fault", "contents"),
    [
        (answer_with_a_page, SMALL),
        (answer_with_an_empty_body, SMALL),
        (drop_writes, SMALL),
        (damage_writes, SMALL),
        (answer_with_a_page, [LARGE]),
        (drop_writes, [LARGE]),
    ],
)
def test_a_misbehaving_store_gets_no_good_placement_and_the_other_store_is_not_removable(
    registry: MemoryRegistry,
    eu: MemorySite,
    server: S3Server,
    fault: Fault,
    contents: list[bytes],
) -> None:
    us = registry["us"]
    digests = [us.push(content) for content in contents]
    fault(server)
    worker = eu.worker()
    worker.start()
    wait_until("a copy was tried", lambda: _tried(eu))
    worker.stop()
    probe(eu)
    assert not eu.locations.health.is_writable("eu")
    assert {tuple(us.placements(digest).items()) for digest in digests} == {(("us", "good"),)}
    with pytest.raises(ChangeRefused):
        Removal(LocationTable(us.database)).check("us")


def test_failed_copies_are_made_once_the_store_recovers(
    registry: MemoryRegistry, eu: MemorySite, server: S3Server
) -> None:
    content = b"content"
    digest = registry["us"].push(content)
    server.page = PAGE
    worker = eu.worker()
    worker.start()
    wait_until("the copy was tried", lambda: _tried(eu))
    server.page = None
    probe(eu)
    # Skip the backoff of the failed task.
    wait_until("it is copied", lambda: _make_tasks_due(eu) and _placed(registry, digest))
    worker.stop()
    assert server.objects[f"/bucket/registry/{blob_key(digest)}"] == content


def test_a_push_goes_to_the_next_location_when_the_nearest_store_misbehaves(
    registry: MemoryRegistry, eu: MemorySite, server: S3Server
) -> None:
    server.page = PAGE
    digest = eu.push(b"content")
    (location,) = eu.placements(digest)
    assert location != "eu"
    assert registry["us"].has_object(location, digest)


def _placed(registry: MemoryRegistry, digest: Digest) -> bool:
    return registry["us"].placements(digest).get("eu") == "good"


def _tried(site: MemorySite) -> bool:
    """Return whether a task for eu failed, or none is left."""
    rows = site.database.read(
        "SELECT count(*), count(t.last_error) FROM replicationtask t"
        " JOIN imagestoragelocation l ON l.id = t.location_id WHERE l.name = 'eu'"
    )
    tasks, failed = rows[0]
    return int(tasks) == 0 or int(failed) > 0


def _make_tasks_due(site: MemorySite) -> bool:
    site.database.run("UPDATE replicationtask SET available_at = now() WHERE lease_token IS NULL")
    return True
