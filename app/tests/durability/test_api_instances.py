"""The API lists instances with what operators compare: versions, bundles and certificates."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from atoll.cluster.instances import Heartbeat

from .api_client import ApiClient
from .sites import MemorySite

END = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_instances_have_the_end_of_their_certificate(site: MemorySite) -> None:
    health, bundle = site.locations.health, site.graph.bundle
    Heartbeat(site.database, bundle, "mirror", health).record()
    identifier = uuid4()
    for end in (None, END):
        Heartbeat(
            site.database, bundle, "registry", health, identifier, certificate_expires_at=end
        ).record()
    client = ApiClient(site)
    mirror, web = client.call("GET", "superuser/instances")["instances"]
    assert (mirror["role"], mirror["certificate_expires_at"]) == ("mirror", None)
    assert (web["role"], web["site"], web["lost"], web["drift"]) == ("registry", "us", False, [])
    assert web["certificate_expires_at"] == "2030-01-02T03:04:05+00:00"
    assert web["started_at"].endswith("+00:00")
    detail = client.call("GET", "superuser/health")["instances"]
    assert [one["certificate_expires_at"] for one in detail] == [
        None,
        web["certificate_expires_at"],
    ]


def test_an_instance_of_an_earlier_version_has_no_end_of_its_certificate(site: MemorySite) -> None:
    site.database.run(
        "INSERT INTO instance (id, role, hostname, version, preference, bundle_fingerprint)"
        " VALUES (gen_random_uuid(), 'registry', 'old', '0.1', '{us}', '{}')"
    )
    (old,) = ApiClient(site).call("GET", "superuser/instances")["instances"]
    assert (old["version"], old["certificate_expires_at"]) == ("0.1", None)
