"""A bad copy is quarantined: it is not served, and a push or a good copy replaces it."""

from __future__ import annotations

import pytest
from atoll.placement.checks.doubts import Doubts
from atoll.placement.checks.plausibility import RecentReads
from atoll.placement.tasks import Tasks

from .images import head_blob, put_manifest_without_layers
from .placements import quarantine
from .site import Client, Site

REPOSITORY = "admin/app"
SCOPE = f"repository:{REPOSITORY}:pull,push"


@pytest.fixture
def quarantined(client: Client) -> str:
    """A blob whose only placement is in quarantine, and that is in the cache."""
    digest = client.push_blob(REPOSITORY, b"{}")
    assert client.pull_blob(REPOSITORY, digest).content == b"{}"
    quarantine(client.site, digest, "usstorage")
    return digest


def test_a_blob_without_a_good_copy_is_answered_with_a_retryable_error(
    client: Client, quarantined: str
) -> None:
    answer = client.pull_blob(REPOSITORY, quarantined)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    (error,) = answer.json()["errors"]
    assert error["code"] == "UNAVAILABLE"
    assert "push it again" in error["message"]
    assert "storage" not in error["message"]


def test_a_quarantined_blob_counts_as_missing_and_a_push_replaces_it(
    client: Client, quarantined: str
) -> None:
    assert head_blob(client, quarantined).status_code == 404
    client.push_blob("admin/other", b"so that the repository is there")
    uploads = "/v2/admin/other/blobs/uploads/"
    for source in ({"from": REPOSITORY}, {}):
        scope = f"repository:admin/other:pull,push {SCOPE}"
        answer = client.request("POST", uploads, scope, params={"mount": quarantined, **source})
        assert answer.status_code == 202
    refused = put_manifest_without_layers(client, quarantined, 2)
    assert refused.status_code == 404
    assert refused.json()["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"
    assert client.push_blob(REPOSITORY, b"{}") == quarantined
    assert head_blob(client, quarantined).status_code == 200
    assert client.pull_blob(REPOSITORY, quarantined).content == b"{}"
    assert put_manifest_without_layers(client, quarantined, 2).status_code == 201


def test_a_blob_quarantined_at_one_location_is_served_from_the_other(us: Site, eu: Site) -> None:
    digest = Client(us).push_blob(REPOSITORY, b"at both")
    eu.copy_all()
    quarantine(us, digest, "usstorage")
    for site in (us, eu):
        answer = Client(site).request("GET", f"/v2/{REPOSITORY}/blobs/{digest}", SCOPE)
        assert f":{site.services.bundle.stores['eustorage'].port}/" in answer.headers["Location"]
        assert head_blob(Client(site), digest).status_code == 200


def test_a_copy_that_was_written_after_the_check_is_not_quarantined(client: Client) -> None:
    database = client.site.services.database
    digest = client.push_blob(REPOSITORY, b"wrong for a while")
    tasks = Tasks(database, "eustorage")
    (task,) = tasks.claim()
    client.push_blob(REPOSITORY, b"wrong for a while")
    Doubts(database, "eustorage", RecentReads()).record_mismatch(
        task, "usstorage", "the digest differs"
    )
    assert database.read("SELECT 1 FROM placementdoubt") == []
    database.run("UPDATE replicationtask SET lease_expires = now()")
    (again,) = tasks.claim()
    Doubts(database, "eustorage", RecentReads()).record_mismatch(
        again, "usstorage", "the digest differs"
    )
    assert database.read("SELECT doubted_by FROM placementdoubt") == [["eustorage"]]
    client.site.services.redis.delete(f"atoll:placements:{digest}")
    assert head_blob(client, digest).status_code == 200
