"""Two locations with different endpoints of one bucket do not delete each other's objects."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from atoll.config.stores import RadosGatewaySettings
from atoll.names import Digest
from atoll.placement.checks.inventory import Orphan, delete_orphan
from atoll.storage.base import blob_key
from atoll.storage.errors import LocationMismatch
from atoll.storage.location_marker import require_own
from atoll.storage.prober import Prober
from atoll.storage.s3.driver import S3ObjectStore

from ..unit.s3_server import S3Server, gateway_of, s3_server
from .sites import SUPERUSER, MemoryRegistry, MemorySite
from .uploads import request_body

CONTENT = b"content"
DIGEST = Digest.of(CONTENT)


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def registry_with_one_bucket(registry: MemoryRegistry, server: S3Server) -> MemoryRegistry:
    """The sites us and eu with one bucket, as 127.0.0.1 and as localhost."""
    for home in ("us", "eu"):
        site = registry[home]
        for name, host in (("us", "127.0.0.1"), ("eu", "localhost")):
            arguments = {**gateway_of(server), "hostname": host}
            settings = RadosGatewaySettings.model_validate(arguments)
            observe = site.locations.health.observe
            site.locations.stores[name] = S3ObjectStore(name, settings, observe=observe)
        probe(site)
    return registry


def probe(site: MemorySite) -> None:
    prober = Prober(site.locations.stores, site.locations.health)
    for name in ("us", "eu"):
        prober.probe_once(site.locations.stores[name])


def test_a_push_at_the_second_location_goes_to_the_first(
    registry_with_one_bucket: MemoryRegistry,
) -> None:
    eu = registry_with_one_bucket["eu"]
    eu.push(CONTENT)
    assert eu.placements(DIGEST) == {"us": "good"}
    # Objects of the bucket remain readable by its second location.
    assert b"".join(eu.locations.stores["eu"].read(blob_key(DIGEST))) == CONTENT


def test_cancelling_an_upload_at_the_second_location_deletes_no_object_of_the_first(
    registry_with_one_bucket: MemoryRegistry, server: S3Server
) -> None:
    us, eu = registry_with_one_bucket["us"], registry_with_one_bucket["eu"]
    us.push(CONTENT)
    upload = eu.graph.uploads.start(eu.repository, SUPERUSER)
    upload = eu.graph.uploads.append(upload, request_body(CONTENT))
    # As an upload from before the bucket was marked.
    eu.database.run("UPDATE blobupload SET first_location = 'eu'")
    with pytest.raises(LocationMismatch):
        eu.graph.content.discard(DIGEST, "eu", upload.uuid)
    eu.graph.uploads.cancel(eu.repository, upload.uuid)
    assert server.objects[f"/bucket/registry/{blob_key(DIGEST)}"] == CONTENT
    assert us.placements(DIGEST) == {"us": "good"}


def test_an_inventory_of_the_second_location_deletes_no_orphans(
    registry_with_one_bucket: MemoryRegistry, server: S3Server
) -> None:
    us, eu = registry_with_one_bucket["us"], registry_with_one_bucket["eu"]
    us.push(CONTENT)
    store = eu.locations.stores["eu"]
    with pytest.raises(LocationMismatch):
        require_own(store)
    with pytest.raises(LocationMismatch):
        delete_orphan(Orphan(blob_key(DIGEST), len(CONTENT)), store, eu.graph.content)
    assert f"/bucket/registry/{blob_key(DIGEST)}" in server.objects
