"""Clients and operators can query, and wait for, the completeness of an image at a location."""

from __future__ import annotations

import json

import pytest
from atoll.placement.policies import Policies, Policy, Subject
from atoll.placement.tasks import Tasks

from .clients import call_api
from .images import sha256
from .site import INDEX_TYPE, MANIFEST_TYPE, Client, Site

REPOSITORY = "admin/app"
SCOPE = f"repository:{REPOSITORY}:pull,push"


def descriptor(data: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}


def put(client: Client, reference: str, document: dict[str, object]) -> bytes:
    data = json.dumps(document).encode()
    answer = client.request(
        "PUT",
        f"/v2/{REPOSITORY}/manifests/{reference}",
        SCOPE,
        headers={"Content-Type": str(document["mediaType"])},
        data=data,
    )
    assert answer.status_code == 201, answer.text
    return data


def push_index(client: Client, tag: str) -> str:
    """Push an index of two images that share a layer; return its digest."""
    layer = b"a layer of both"
    images = []
    for number in (1, 2):
        configuration = json.dumps({"number": number}).encode()
        for data in (layer, configuration):
            client.push_blob(REPOSITORY, data)
        image = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(configuration, "application/vnd.oci.image.config.v1+json"),
            "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar")],
        }
        images.append(put(client, sha256(json.dumps(image).encode()), image))
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [descriptor(image, MANIFEST_TYPE) for image in images],
    }
    return sha256(put(client, tag, index))


def copy_one(site: Site) -> bool:
    """Place one blob at eu as the worker would; the bytes do not matter here."""
    at_eu = Tasks(site.services.database, "eustorage")
    return bool(at_eu.finish(at_eu.claim()))


def test_an_index_is_complete_once_all_layers_and_configurations_are_placed(
    us: Site,
) -> None:
    client = Client(us)
    digest = push_index(client, "list")
    lacking = []
    while True:
        for path in ("tag/list/replication", f"manifest/{digest}/replication"):
            answer = call_api(client, "GET", f"repository/{REPOSITORY}/{path}")
            assert answer.status_code == 200, answer.text
            found = answer.json()
            assert found["manifest_digest"] == digest
            at_eu, at_us = found["locations"]
            assert (at_us["location"], at_us["complete"], at_us["blobs"]) == ("usstorage", True, 3)
            assert at_eu["complete"] is found["complete"] is (at_eu["missing_blobs"] == 0)
        lacking.append(at_eu["missing_blobs"])
        if not copy_one(us):
            break
    assert lacking == [3, 2, 1, 0]


def test_completeness_is_hidden_from_users_without_pull_permission(us: Site) -> None:
    push_index(Client(us), "list")
    path = f"repository/{REPOSITORY}/tag/list/replication"
    assert call_api(Client(us, None), "GET", path).status_code == 401
    assert (
        call_api(Client(us), "GET", f"repository/{REPOSITORY}/tag/none/replication").status_code
        == 404
    )


def test_wait_returns_0_only_once_the_image_is_complete(us: Site) -> None:
    push_index(Client(us), "list")
    waited = us.command("wait", f"{REPOSITORY}:list", "--location", "usstorage")
    complete = f"{REPOSITORY}:list is complete at usstorage\n"
    assert (waited.returncode, waited.stdout) == (0, complete), waited.stderr
    waited = us.command("wait", f"{REPOSITORY}:list", "--timeout", "0", "--json")
    assert waited.returncode == 1
    assert "eustorage lacks 3 of 3 blobs" in waited.stderr
    assert json.loads(waited.stdout)["complete"] is False
    while copy_one(us):
        continue
    waited = us.command("wait", f"{REPOSITORY}:list", "--json")
    assert waited.returncode == 0, waited.stderr
    assert json.loads(waited.stdout)["complete"] is True


@pytest.mark.long
def test_wait_fails_at_once_if_the_image_cannot_become_complete(us: Site) -> None:
    push_index(Client(us), "list")
    Policies(us.services.database, ["usstorage", "eustorage"]).set(
        Subject.parse(REPOSITORY), Policy(excluded=("eustorage",))
    )
    waited = us.command("wait", f"{REPOSITORY}:list", "--location", "eustorage")
    assert waited.returncode == 1
    assert "'eustorage' is not required for this repository" in waited.stderr
    for image, sentence in (
        (f"{REPOSITORY}:none", "has no manifest 'none'"),
        (REPOSITORY, "has no tag; write NAMESPACE/REPOSITORY:TAG"),
        ("A B:c", "is not a valid repository name"),
    ):
        waited = us.command("wait", image)
        assert (waited.returncode, sentence in waited.stderr) == (1, True), waited.stderr
