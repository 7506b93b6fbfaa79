"""Blobs are placed where policies require them, and never where policies exclude them."""

from __future__ import annotations

import json
import threading

import pytest
import requests
from atoll.placement.policies import Policy, PolicyWatch, Subject
from atoll.placement.tasks import Tasks
from atoll.placement.upkeep.backfill import Reconciler

from .clients import call_api
from .images import push_image_without_layers, sha256
from .placements import REQUIRED, THIRD, exclude, object_key, placements, policies
from .services import Services, wait_until
from .site import Client, Site

REPOSITORY = "home/app"
SCOPE = f"repository:{REPOSITORY}:pull,push"


@pytest.fixture
def site(site_with_third_location: Site) -> Site:
    return site_with_third_location


def queued_tasks(site: Site) -> set[tuple[str, str]]:
    rows = site.services.database.read(
        "SELECT s.content_checksum, l.name FROM replicationtask t"
        " JOIN imagestorage s ON s.id = t.storage_id"
        " JOIN imagestoragelocation l ON l.id = t.location_id"
    )
    return {(row[0], row[1]) for row in rows}


def make_repository(site: Site, name: str) -> None:
    """Create a repository by a first push."""
    push_image_without_layers(site, name, json.dumps({"made": name}).encode())
    site.services.database.run("DELETE FROM replicationtask")


def test_an_extra_location_receives_the_blobs_of_its_repository_only(site: Site) -> None:
    client = Client(site)
    make_repository(site, REPOSITORY)
    answer = call_api(
        client,
        "PUT",
        f"repository/{REPOSITORY}/replicationpolicy",
        json={"extra_locations": [THIRD]},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["required_locations"] == [THIRD, "eustorage", "usstorage"]
    mine = client.push_blob(REPOSITORY, b"mine")
    other = client.push_blob("home/other", b"other")
    assert queued_tasks(site) == {(mine, "eustorage"), (mine, THIRD), (other, "eustorage")}


def test_a_push_writes_nothing_to_a_location_that_its_namespace_excludes(
    site: Site, services: Services
) -> None:
    make_repository(site, REPOSITORY)
    exclude(site, "home", "usstorage")
    client = Client(site)
    single_chunk = client.push_blob(REPOSITORY, b"in one piece")
    answer = client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", SCOPE)
    for piece in (b"in ", b"two pieces"):
        # Without the signed state in the Location, the upload is looked up.
        location = answer.headers["Location"].partition("?")[0]
        answer = client.request("PATCH", location, SCOPE, data=piece)
    digest = sha256(b"in two pieces")
    answer = client.request("PUT", answer.headers["Location"], SCOPE, params={"digest": digest})
    assert answer.status_code == 201, answer.text
    for pushed in (single_chunk, digest):
        assert placements(site, pushed) == {"eustorage"}
        assert object_key(pushed) not in services.us.objects()
    assert queued_tasks(site) == set()


def test_chunks_written_before_a_policy_change_are_assembled_at_a_permitted_location(
    site: Site, services: Services
) -> None:
    make_repository(site, REPOSITORY)
    client = Client(site)
    data = b"began before"
    digest = sha256(data)
    begun = client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", SCOPE)
    exclude(site, REPOSITORY, "usstorage")
    answer = client.request(
        "PUT", begun.headers["Location"], SCOPE, params={"digest": digest}, data=data
    )
    assert answer.status_code == 201, answer.text
    assert placements(site, digest) == {"eustorage"}
    assert object_key(digest) not in services.us.objects()


@pytest.mark.long
def test_a_push_is_retryable_while_the_only_permitted_store_is_unavailable(
    site: Site, services: Services
) -> None:
    make_repository(site, REPOSITORY)
    exclude(site, "home", "usstorage", THIRD)
    services.eu.container.pause()
    try:
        wait_until(
            "the store is known to be unavailable",
            lambda: not site.locations.health.is_up("eustorage"),
        )
        client = Client(site)
        answer = client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", SCOPE)
        answer = client.request("PATCH", answer.headers["Location"], SCOPE, data=b"to nowhere")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "this repository's blobs may be written to" in answer.json()["errors"][0]["message"]
    finally:
        services.eu.container.unpause()


def test_a_mounted_blob_is_readable_at_once_and_copied_to_required_locations(site: Site) -> None:
    client = Client(site)
    make_repository(site, REPOSITORY)
    exclude(site, REPOSITORY, "usstorage")
    policies(site).set(Subject.parse("home"), Policy(extra=(THIRD,)))
    digest = client.push_blob("free/app", b"at us only")
    site.services.database.run("DELETE FROM replicationtask")
    answer = client.request(
        "POST",
        f"/v2/{REPOSITORY}/blobs/uploads/",
        f"{SCOPE} repository:free/app:pull",
        params={"mount": digest, "from": "free/app"},
    )
    assert answer.status_code == 201, answer.text
    assert queued_tasks(site) == {(digest, "eustorage"), (digest, THIRD)}
    shown = json.loads(site.command("policy", "show", REPOSITORY, "--json").stdout)
    (excess,) = shown["excess"]
    assert (excess["location"], excess["shared"]) == ("usstorage", 1)


def test_a_policy_change_queues_missing_copies_and_cancels_excluded_ones(
    site: Site,
) -> None:
    push_image_without_layers(site, REPOSITORY, b"{}")
    (digest,) = {digest for digest, _ in queued_tasks(site)}
    assert queued_tasks(site) == {(digest, "eustorage")}
    done = site.command("policy", "set", "home", "--extra", THIRD, "--exclude", "eustorage")
    assert done.returncode == 0, done.stderr
    assert "missing copies queued: 1" in done.stderr
    assert queued_tasks(site) == {(digest, THIRD)}
    done = site.command("policy", "clear", "home")
    assert "copies required at eustorage, usstorage" in done.stdout
    # No policy excludes the third location now, so a copy in progress may finish.
    assert queued_tasks(site) == {(digest, "eustorage"), (digest, THIRD)}


def test_workers_apply_a_policy_as_soon_as_a_change_is_visible(site: Site) -> None:
    push_image_without_layers(site, REPOSITORY, b"{}")
    watch = PolicyWatch(
        site.services.database, Reconciler(site.services.database, REQUIRED, batch=1)
    )
    assert watch.apply_changes() == 0
    policies(site).set(Subject.parse("home"), Policy(extra=(THIRD,)))
    assert (watch.apply_changes(), watch.apply_changes()) == (1, 0)
    policies(site).clear(Subject.parse("home"))
    policies(site).set(Subject.parse("home"), Policy(excluded=("eustorage", THIRD)))
    watch.apply_changes()
    assert queued_tasks(site) == set()


def test_a_blob_is_required_wherever_one_of_its_repositories_requires_it(site: Site) -> None:
    push_image_without_layers(site, REPOSITORY, b"{}")
    push_image_without_layers(site, "free/app", b"{}")
    exclude(site, "home", "eustorage")
    site.services.database.run("DELETE FROM replicationtask")
    assert Reconciler(site.services.database, REQUIRED).everything() == 1
    exclude(site, "free", "eustorage")
    site.services.database.run("DELETE FROM replicationtask")
    assert Reconciler(site.services.database, REQUIRED).everything() == 0


@pytest.mark.long
def test_a_blob_without_repositories_is_required_nowhere_and_does_not_block_a_drain(
    site: Site,
) -> None:
    push_image_without_layers(site, REPOSITORY, b"{}")
    assert call_api(Client(site), "DELETE", f"repository/{REPOSITORY}").status_code == 204
    site.services.database.run("DELETE FROM replicationtask")
    assert Reconciler(site.services.database, REQUIRED).everything() == 0
    assert json.loads(site.command("drain", "usstorage", "--json").stdout)["drained"] is True


@pytest.mark.long
def test_a_drain_reports_blobs_that_policies_exclude_everywhere_else(site: Site) -> None:
    make_repository(site, REPOSITORY)
    exclude(site, REPOSITORY, "usstorage", THIRD)
    Client(site).push_blob(REPOSITORY, b"at eu only")
    drained = site.command("drain", "eustorage", "--wait")
    assert drained.returncode == 1
    assert "blobs are only at 'eustorage', and policies let them be nowhere else" in drained.stderr


def test_urgent_repositories_have_urgent_tasks(site: Site) -> None:
    make_repository(site, REPOSITORY)
    client = Client(site)
    client.push_blob("free/app", b"waits longer")
    policies(site).set(Subject.parse(REPOSITORY), Policy(urgent=True))
    digest = client.push_blob(REPOSITORY, b"goes first")
    (task,) = Tasks(site.services.database, "eustorage").claim()
    assert str(task.digest) == digest


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ({"extra_locations": ["mars"]}, "location 'mars' is unknown"),
        ({"excluded_locations": ["usstorage", "eustorage"]}, "no location would be left"),
        (
            {"extra_locations": [THIRD], "excluded_locations": [THIRD]},
            "cannot be both an extra location and excluded",
        ),
        ({"synchronous": {"copies": 3}}, "no push could wait for 3"),
    ],
)
def test_an_invalid_policy_is_refused_with_the_reason(
    site: Site, policy: dict[str, object], sentence: str
) -> None:
    make_repository(site, REPOSITORY)
    for path in (f"repository/{REPOSITORY}", "organization/home"):
        answer = call_api(Client(site), "PUT", f"{path}/replicationpolicy", json=policy)
        assert answer.status_code == 400
        assert sentence in answer.json()["detail"]


def test_a_namespace_policy_lets_each_repository_choose_a_location(site: Site) -> None:
    make_repository(site, REPOSITORY)
    exclude(site, REPOSITORY, "usstorage")
    answer = call_api(
        Client(site),
        "PUT",
        "organization/home/replicationpolicy",
        json={"excluded_locations": ["eustorage"]},
    )
    assert answer.status_code == 400
    assert f"no location would be left for the blobs of '{REPOSITORY}'" in answer.json()["detail"]


def test_only_administrators_read_and_change_policies(site: Site) -> None:
    make_repository(site, REPOSITORY)
    made = site.command("user", "create", "guest", "--password-stdin", input="a long password\n")
    assert made.returncode == 0, made.stderr
    guest = Client(site, "guest", "a long password")
    for path in (f"repository/{REPOSITORY}", "organization/home"):
        assert call_api(guest, "GET", f"{path}/replicationpolicy").status_code == 403
        assert call_api(guest, "PUT", f"{path}/replicationpolicy", json={}).status_code == 403
        assert call_api(guest, "DELETE", f"{path}/replicationpolicy").status_code == 403
        owner = Client(site)
        shown = {"extra_locations": [THIRD], "urgent": True, "synchronous": {"copies": 2}}
        assert call_api(owner, "PUT", f"{path}/replicationpolicy", json=shown).status_code == 200
        assert call_api(owner, "GET", f"{path}/replicationpolicy").json() == {
            "extra_locations": [THIRD],
            "excluded_locations": [],
            "urgent": True,
            "synchronous": {"copies": 2, "seconds": 30},
            "required_locations": [THIRD, "eustorage", "usstorage"],
        }
        assert call_api(owner, "DELETE", f"{path}/replicationpolicy").status_code == 204


def test_a_manifest_push_waits_for_the_copies_that_its_policy_requires(site: Site) -> None:
    make_repository(site, REPOSITORY)
    policies(site).set(Subject.parse("home"), Policy(sync_copies=2, sync_seconds=1))
    client = Client(site)
    digest = client.push_blob(REPOSITORY, b'{"new":1}')
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest,
                "size": 9,
            },
            "layers": [],
        }
    )
    headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}

    def put() -> requests.Response:
        path = f"/v2/{REPOSITORY}/manifests/new"
        return client.request("PUT", path, SCOPE, headers=headers, data=manifest)

    answer = put()
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "1 of 1 blobs are not at 2 locations yet" in answer.json()["errors"][0]["message"]
    assert client.request("GET", f"/v2/{REPOSITORY}/manifests/new", SCOPE).status_code == 404
    policies(site).set(Subject.parse("home"), Policy(sync_copies=2, sync_seconds=50))
    answers: list[requests.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(put()))
    waiting.start()
    at_eu = Tasks(site.services.database, "eustorage")
    while claimed := at_eu.claim():
        at_eu.finish(claimed)
    waiting.join()
    assert answers[0].status_code == 201
    assert client.request("GET", f"/v2/{REPOSITORY}/manifests/new", SCOPE).status_code == 200
