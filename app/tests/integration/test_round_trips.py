"""The table of round trips in docs/explanation/architecture.md, as reported and as counted.

Proxies in front of PostgreSQL and the store count real round trips. Background probes add to these
and never subtract, so of several attempts the lowest count is right.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import requests
from atoll.db import shared_redis
from atoll.registry import prepared_uploads

from .counting_proxy import CountingProxy, counting_proxy
from .images import push_image, sha256
from .services import Services, wait_until
from .site import Client, Site, bundle, running_site

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


def forget_tokens(client: Client) -> None:
    """Get tokens now that the repository exists; older tokens cost one more round trip."""
    client.tokens.clear()


def test_a_first_push_costs_one_more_round_trip_per_request(timed: Site) -> None:
    client = Client(timed)
    client.push_blob(REPOSITORY, b"with the token from before")
    for _ in range(2):
        answer = client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", SCOPE)
        assert trips(answer) == (2, 0)
    forget_tokens(client)
    answer = client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", SCOPE)
    assert trips(answer) == (1, 0)


def test_a_pull_costs_one_round_trip_per_request_and_none_if_cached(timed: Site) -> None:
    client = Client(timed)
    digest, manifest = push_image(client)
    layer = client.push_blob(REPOSITORY, b"a layer of its own")
    assert manifest
    forget_tokens(client)
    path = f"/v2/{REPOSITORY}"
    for method in ("GET", "HEAD"):
        assert trips(client.request(method, f"{path}/manifests/v1", SCOPE)) == (1, 0)
    assert trips(client.request("GET", f"{path}/manifests/{digest}", SCOPE)) == (1, 0)
    assert trips(client.request("GET", f"{path}/manifests/{digest}", SCOPE)) == (0, 0)
    assert trips(client.request("HEAD", f"{path}/blobs/{layer}", SCOPE)) == (1, 0)
    assert trips(client.request("GET", f"{path}/blobs/{layer}", SCOPE)) <= (1, 0)


def test_with_the_tag_cache_a_tag_costs_a_round_trip_only_after_a_change(
    services: Services, database: str, tmp_path: Path
) -> None:
    changes = {"FEATURE_SERVER_TIMING": True, "FEATURE_TAG_CACHE": True}
    with running_site(services, database, tmp_path / "kept", "usstorage", changes) as site:
        client = Client(site)
        path = f"/v2/{REPOSITORY}/manifests/v1"

        def is_kept() -> bool:
            return trips(client.request("GET", path, SCOPE)) == (0, 0)

        for _ in range(3):
            pushed, _ = push_image(client)
            forget_tokens(client)
            wait_until("the change is received", partial(is_pulled, client, path, pushed))
            wait_until("the tag is kept", is_kept)
            assert is_pulled(client, path, pushed)
            assert trips(client.request("HEAD", path, SCOPE)) == (0, 0)


def test_a_repeated_pull_waits_for_the_database_once_for_its_token(
    services: Services, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For this time after a push, nothing about the blob is cached.
    monkeypatch.setattr(shared_redis, "_DELETED_SECONDS", 1)
    changes = {"FEATURE_SERVER_TIMING": True, "FEATURE_TAG_CACHE": True}
    with running_site(services, database, tmp_path / "kept", "usstorage", changes) as site:
        client = Client(site)
        digest, _ = push_image(client)
        # Blobs of other images, so that there are many.
        layers = [client.push_blob(REPOSITORY, b"layer %d" % number) for number in range(20)]
        path = f"/v2/{REPOSITORY}"
        pulls = [
            ("HEAD", f"{path}/manifests/v1"),
            ("GET", f"{path}/manifests/{digest}"),
            *(("GET", f"{path}/blobs/{layer}") for layer in layers),
        ]

        def pull() -> int:
            answers = [client.request(method, url, SCOPE) for method, url in pulls]
            return sum(trips(answer)[0] for answer in answers)

        forget_tokens(client)
        wait_until("everything is cached", lambda: pull() == 0)
        token = client.session.get(
            f"{site.url}/v2/auth", params={"scope": SCOPE}, auth=client.credentials
        )
        assert trips(token) == (1, 0)
        assert pull() == 0


def is_pulled(client: Client, path: str, digest: str) -> bool:
    """Return whether the manifest at a path has a digest."""
    return client.request("GET", path, SCOPE).headers["Docker-Content-Digest"] == digest


def test_a_token_costs_one_round_trip(timed: Site) -> None:
    answer = Client(timed).session.get(
        f"{timed.url}/v2/auth", params={"scope": SCOPE}, auth=Client(timed).credentials
    )
    assert trips(answer) == (1, 0)


def test_a_push_costs_what_the_table_says_and_sends_the_bytes_once(
    timed: Site,
) -> None:
    client = Client(timed)
    client.push_blob(REPOSITORY, b"so that the repository is there")
    forget_tokens(client)
    data = b"the layer"
    answer = client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", SCOPE)
    assert trips(answer) == (1, 0)
    answer = client.request("PATCH", answer.headers["Location"], SCOPE, data=data)
    assert trips(answer) == (1, 1)
    answer = client.request(
        "PUT", answer.headers["Location"], SCOPE, params={"digest": sha256(data)}
    )
    assert trips(answer) == (1, 0)


def test_with_the_tag_cache_only_the_first_layer_of_a_push_costs_a_round_trip_to_begin(
    services: Services, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than the test may take.
    monkeypatch.setattr(prepared_uploads, "LIFE_SECONDS", 3600)
    changes = {"FEATURE_SERVER_TIMING": True, "FEATURE_TAG_CACHE": True}
    with running_site(services, database, tmp_path / "kept", "usstorage", changes) as site:
        client, uploads = Client(site), f"/v2/{REPOSITORY}/blobs/uploads/"
        client.push_blob(REPOSITORY, b"so that the repository is there")
        forget_tokens(client)
        # It takes the upload that the last one prepared.
        client.request("POST", uploads, SCOPE)
        for number, round_trips in enumerate((1, 0, 0)):
            data = b"layer %d" % number
            missing = client.request("HEAD", f"/v2/{REPOSITORY}/blobs/{sha256(data)}", SCOPE)
            assert missing.status_code == 404
            begun = client.request("POST", uploads, SCOPE)
            assert trips(begun) == (round_trips, 0)
            sent = client.request("PATCH", begun.headers["Location"], SCOPE, data=data)
            assert trips(sent) == (1, 1)
            parameters = {"digest": sha256(data)}
            ended = client.request("PUT", sent.headers["Location"], SCOPE, params=parameters)
            assert trips(ended) == (1, 0)


def test_a_manifest_push_costs_at_most_three_round_trips(timed: Site) -> None:
    client = Client(timed)
    _, manifest = push_image(client)
    forget_tokens(client)
    answer = client.request(
        "PUT",
        f"/v2/{REPOSITORY}/manifests/v2",
        SCOPE,
        data=manifest,
        headers={"Content-Type": "application/vnd.oci.image.manifest.v1+json"},
    )
    assert trips(answer) == (2, 0)


ATTEMPTS = 8


@dataclass
class Counted:
    """A site whose database and store are behind counting proxies."""

    client: Client
    database: CountingProxy
    store: CountingProxy

    def least(self, action: Callable[[], object]) -> tuple[int, int]:
        """Return the fewest round trips of an action to the database and the store."""
        taken = []
        for _ in range(ATTEMPTS):
            before = self.database.round_trips, self.store.round_trips
            action()
            taken.append(
                (self.database.round_trips - before[0], self.store.round_trips - before[1])
            )
        return min(one[0] for one in taken), min(one[1] for one in taken)


@pytest.fixture
def counted(
    services: Services, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Counted]:
    # For this time after a push, nothing about the blob is cached.
    monkeypatch.setattr(shared_redis, "_DELETED_SECONDS", 1)
    uri = bundle(services, database)["DB_URI"]
    port = int(re.search(r":(\d+)/", str(uri))[1])
    with counting_proxy(port) as before_database, counting_proxy(services.us.port) as before_store:
        driver, arguments = services.us.settings
        changes: dict[str, object] = {
            "DB_URI": str(uri).replace(f":{port}/", f":{before_database.port}/"),
            "DISTRIBUTED_STORAGE_CONFIG": {
                "usstorage": [driver, {**arguments, "port": before_store.port}]
            },
            "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": ["usstorage"],
            "DISTRIBUTED_STORAGE_PREFERENCE": ["usstorage"],
        }
        with running_site(services, database, tmp_path / "counted", "usstorage", changes) as site:
            yield Counted(Client(site), before_database, before_store)


def test_counted_round_trips_match_the_table(
    counted: Counted,
) -> None:
    client = counted.client
    digest, manifest = push_image(client)
    layer = client.push_blob(REPOSITORY, b"a layer of its own")
    forget_tokens(client)
    path = f"/v2/{REPOSITORY}"
    locations: list[tuple[str, bytes]] = []

    def post() -> None:
        answer = client.request("POST", f"{path}/blobs/uploads/", SCOPE)
        locations.append((answer.headers["Location"], os.urandom(1000)))

    def patch() -> None:
        location, data = locations.pop(0)
        answer = client.request("PATCH", location, SCOPE, data=data)
        locations.append((answer.headers["Location"], data))

    def put() -> None:
        location, data = locations.pop(0)
        answer = client.request("PUT", location, SCOPE, params={"digest": sha256(data)})
        assert answer.status_code == 201

    def put_manifest() -> None:
        answer = client.request(
            "PUT",
            f"{path}/manifests/v2",
            SCOPE,
            data=manifest,
            headers={"Content-Type": "application/vnd.oci.image.manifest.v1+json"},
        )
        assert answer.status_code == 201

    def token() -> None:
        client.session.get(
            f"{client.site.url}/v2/auth", params={"scope": SCOPE}, auth=client.credentials
        )

    for action, expected in (
        (lambda: client.request("GET", f"{path}/manifests/v1", SCOPE), (1, 0)),
        (lambda: client.request("HEAD", f"{path}/manifests/v1", SCOPE), (1, 0)),
        (lambda: client.request("GET", f"{path}/manifests/{digest}", SCOPE), (0, 0)),
        (token, (1, 0)),
        (post, (1, 0)),
        (patch, (1, 1)),
        (put, (1, 0)),
        (put_manifest, (2, 0)),
    ):
        assert counted.least(action) == expected
    wait_until(
        "the blob's placements come from the cache",
        lambda: (
            counted.least(lambda: client.request("GET", f"{path}/blobs/{layer}", SCOPE)) == (0, 0)
        ),
    )
