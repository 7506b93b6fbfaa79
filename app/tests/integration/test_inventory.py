"""Objects without rows and rows without objects are found; foreign objects are never deleted."""

from __future__ import annotations

import json
import os
from typing import Any
from uuid import uuid4

import pytest
from atoll.names import Digest
from atoll.placement.checks import inventory
from atoll.storage.base import blob_key

from .placements import object_key, placements
from .services import Services
from .site import Client, Site

REPOSITORY = "admin/app"
SCOPE = f"repository:{REPOSITORY}:pull,push"
PREFIX = "datastorage/registry"


def run_inventory(site: Site, *words: str) -> tuple[int, dict[str, Any]]:
    status, out, err = site.command_here("inventory", "usstorage", "--json", *words)
    assert out, err
    return status, json.loads(out)


def put(services: Services, name: str, data: bytes) -> None:
    services.us.client.put_object(Bucket=services.us.bucket, Key=f"{PREFIX}/{name}", Body=data)


def test_old_objects_without_rows_are_reported_and_deleted_on_request(
    client: Client, services: Services
) -> None:
    digests = [client.push_blob(REPOSITORY, os.urandom(10)) for _ in range(5)]
    data = b"nobody knows of this"
    orphan = blob_key(Digest.of(data))
    chunk = f"uploads/{uuid4()}/{uuid4()}"
    for name in (orphan, chunk, "sha256/not/ours", "sharedimages/other"):
        put(services, name, data)
    status, found = run_inventory(client.site)
    assert status == 0
    assert (found["objects"]["orphans"], found["objects"]["too_young"]) == (0, 2)
    status, found = run_inventory(client.site, "--older-than", "0s")
    objects = found["objects"]
    assert (status, objects["orphans"], objects["orphan_bytes"]) == (1, 2, 2 * len(data))
    assert (sorted(objects["shown"]), objects["strangers"]) == ([orphan, chunk], 1)
    assert found["locations"]["usstorage"]["verified"] == 5
    status, found = run_inventory(client.site, "--older-than", "0s", "--delete-orphans")
    assert (status, found["objects"]["deleted"]) == (0, 2)
    left = {f"{PREFIX}/sha256/not/ours", f"{PREFIX}/sharedimages/other"}
    assert services.us.objects() == left | {object_key(digest) for digest in digests}
    for name in left:
        services.us.client.delete_object(Bucket=services.us.bucket, Key=name)


def test_objects_of_an_upload_in_progress_are_never_deleted(client: Client) -> None:
    location = client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", SCOPE)
    path = location.headers["Location"]
    for chunk in (b"first ", b"second"):
        path = client.request("PATCH", path, SCOPE, data=chunk).headers["Location"]
    _, found = run_inventory(client.site, "--older-than", "0s", "--delete-orphans")
    assert found["objects"]["deleted"] == 0
    digest = str(Digest.of(b"first second"))
    assert client.request("PUT", path, SCOPE, params={"digest": digest}).status_code == 201
    assert client.pull_blob(REPOSITORY, digest).content == b"first second"


def test_rows_without_objects_are_reported_and_quarantined_on_request(
    client: Client, services: Services
) -> None:
    digests = sorted(client.push_blob(REPOSITORY, os.urandom(10)) for _ in range(4))
    first, truncated, last = digests[0], digests[1], digests[-1]
    for digest in (first, last):
        services.us.client.delete_object(Bucket=services.us.bucket, Key=object_key(digest))
    put(services, blob_key(Digest.parse(truncated)), b"short")
    status, found = run_inventory(client.site)
    defects = {entry["digest"]: entry["defect"] for entry in found["findings"]}
    assert (status, found["lost"]) == (65, 3)
    assert defects == {first: "missing", truncated: "wrong size", last: "missing"}
    assert placements(client.site, first) == {"usstorage"}
    _, found = run_inventory(client.site, "--heal")
    assert found["quarantined"] == 3
    assert placements(client.site, first) == set()
    assert client.pull_blob(REPOSITORY, first).status_code == 503
    assert client.pull_blob(REPOSITORY, digests[2]).status_code == 200


def test_an_object_queued_for_deletion_is_not_an_orphan(client: Client, services: Services) -> None:
    client.push_blob(REPOSITORY, b"on its way out")
    client.site.services.database.run(
        "INSERT INTO objectdeletion (storage_id, location_id)"
        " SELECT storage_id, location_id FROM imagestorageplacement;"
        "DELETE FROM imagestorageplacement"
    )
    status, found = run_inventory(client.site, "--older-than", "0s", "--delete-orphans")
    assert (status, found["objects"]["waiting_for_deletion"]) == (0, 1)
    assert len(services.us.objects()) == 1


def test_rows_and_objects_are_compared_page_by_page(
    client: Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "_PAGE", 2)
    for _ in range(5):
        client.push_blob(REPOSITORY, os.urandom(10))
        put(services, blob_key(Digest.of(os.urandom(10))), b"orphan")
    store = client.site.locations.stores["usstorage"]
    compare = inventory.Inventory(client.site.services.database, store, inventory.now())
    entries = list(compare.entries())
    assert sum(right for _, right in entries) == 5
    orphans = [entry for entry, _ in entries if isinstance(entry, inventory.Orphan)]
    assert len(orphans) == 5
    assert [orphan.key for orphan in orphans] == sorted(orphan.key for orphan in orphans)


def test_nothing_is_reported_about_the_objects_of_an_unreachable_store(
    client: Client, services: Services
) -> None:
    client.push_blob(REPOSITORY, b"there all the time")
    services.us.container.pause()
    try:
        status, _, err = client.site.command_here("inventory", "usstorage", "--heal")
    finally:
        services.us.container.unpause()
    assert (status, "unavailable" in err) == (69, True)
    assert client.site.services.database.read("SELECT state FROM imagestorageplacement") == [
        ["good"]
    ]


def test_an_unknown_location_is_refused_with_the_known_ones(us: Site) -> None:
    status, _, err = us.command_here("inventory", "mars")
    assert status == 1
    assert "there is no location 'mars'; known are:" in err
