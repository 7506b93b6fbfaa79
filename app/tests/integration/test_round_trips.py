"""The table of round trips in docs/architecture.md, as Server-Timing tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from .services import Services
from .site import Client, Site, running_site
from .test_push_and_pull import push_image, sha256

REPOSITORY = "admin/app"
SCOPE = f"repository:{REPOSITORY}:pull,push"


@pytest.fixture
def timed(services: Services, database: str, tmp_path: Path) -> Iterator[Site]:
    changes = {"FEATURE_SERVER_TIMING": True}
    with running_site(services, database, tmp_path / "timed", "usstorage", changes) as site:
        yield site


def trips(answer: requests.Response) -> tuple[int, int]:
    """Return the round trips to the database and to the store."""
    assert answer.ok, answer.text
    header = answer.headers["Server-Timing"]
    found = dict(re.findall(r'(\w+);desc="(\d+) round trips"', header))
    return int(found.get("database", 0)), int(found.get("store", 0))


def test_a_pull_costs_one_round_trip_a_request_and_none_for_what_is_cached(timed: Site) -> None:
    client = Client(timed)
    digest, manifest = push_image(client)
    layer = client.push_blob(REPOSITORY, b"a layer of its own")
    assert manifest
    path = f"/v2/{REPOSITORY}"
    for method in ("GET", "HEAD"):
        assert trips(client.request(method, f"{path}/manifests/v1", SCOPE)) == (1, 0)
    assert trips(client.request("GET", f"{path}/manifests/{digest}", SCOPE)) == (1, 0)
    assert trips(client.request("GET", f"{path}/manifests/{digest}", SCOPE)) == (0, 0)
    assert trips(client.request("HEAD", f"{path}/blobs/{layer}", SCOPE)) == (1, 0)
    assert trips(client.request("GET", f"{path}/blobs/{layer}", SCOPE)) <= (1, 0)


def test_a_token_costs_one_round_trip(timed: Site) -> None:
    answer = Client(timed).session.get(
        f"{timed.url}/v2/auth", params={"scope": SCOPE}, auth=Client(timed).credentials
    )
    assert trips(answer) == (1, 0)


def test_a_push_costs_what_the_table_says_and_the_bytes_go_to_the_store_once(
    timed: Site,
) -> None:
    client = Client(timed)
    client.push_blob(REPOSITORY, b"so that the repository is there")
    data = b"the layer"
    answer = client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", SCOPE)
    assert trips(answer) == (1, 0)
    answer = client.request("PATCH", answer.headers["Location"], SCOPE, data=data)
    assert trips(answer) == (1, 1)
    answer = client.request(
        "PUT", answer.headers["Location"], SCOPE, params={"digest": sha256(data)}
    )
    assert trips(answer) == (2, 0)


def test_a_manifest_is_put_with_at_most_three(timed: Site) -> None:
    client = Client(timed)
    _, manifest = push_image(client)
    answer = client.request(
        "PUT",
        f"/v2/{REPOSITORY}/manifests/v2",
        SCOPE,
        data=manifest,
        headers={"Content-Type": "application/vnd.oci.image.manifest.v1+json"},
    )
    assert trips(answer) == (2, 0)
