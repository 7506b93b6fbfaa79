"""The API describes images: platforms, history, layers with their copies, and referrers."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atoll import round_trips
from atoll.names import Digest
from atoll.registry.image_details import ImageDetails
from atoll.registry.referrer_tree import ReferrerTree
from atoll.storage.errors import StoreUnavailable
from atoll.web.api.image import ImageSchema, serialize_image
from pydantic import TypeAdapter

from .api_client import ApiClient
from .media import referrer
from .mirror_images import INDEX_TYPE, index_of, put
from .sites import MANIFEST_TYPE, MemorySite, image_manifest, make_registry

LAYERS = [b"first layer", b"second layer"]
CONFIG = {
    "created": "2026-01-02T03:04:05.678901234Z",
    "author": "<script>",
    "os": "linux",
    "architecture": "arm64",
    "variant": "v8",
    "config": {"Entrypoint": ["/run"], "Cmd": ["serve"], "Labels": {"team": "app", "odd": 1}},
    "history": [
        {"created": "2026-01-01T00:00:00Z", "created_by": "ADD first"},
        {"created_by": "ENV A=1", "empty_layer": True},
        {"created_by": "RUN second", "comment": "buildkit"},
    ],
}


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    return make_registry(make_database(), tmp_path, ["us", "eu"])["us"]


def push(site: MemorySite, config: bytes) -> Digest:
    for content in (config, *LAYERS):
        site.push(content)
    return put(site, image_manifest(config, LAYERS), MANIFEST_TYPE, "latest")


def details(site: MemorySite) -> ImageDetails:
    deps = site.graph.dependencies()
    return ImageDetails(site.database, deps.blobs)


def described(site: MemorySite, digest: Digest, what: str = "image") -> Any:
    path = f"repository/{site.repository}/manifest/{digest}/{what}"
    return ApiClient(site).call("GET", path)


def test_an_image_has_its_configuration_and_the_copies_of_its_layers(site: MemorySite) -> None:
    found = described(site, push(site, json.dumps(CONFIG).encode()))
    assert found["configuration"] == {
        "created": CONFIG["created"],
        "author": "<script>",
        "platform": "linux/arm64/v8",
        "entrypoint": ["/run"],
        "command": ["serve"],
        "labels": {"team": "app"},
    }
    assert [one["command"] for one in found["history"]] == ["ADD first", "ENV A=1", "RUN second"]
    assert [(one["digest"], one["command"], one["size"]) for one in found["layers"]] == [
        (str(Digest.of(layer)), command, len(layer))
        for layer, command in zip(LAYERS, ["ADD first", "RUN second"], strict=True)
    ]
    for layer in found["layers"]:
        assert [(copy["location"], copy["state"]) for copy in layer["copies"]] == [("us", "good")]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (b"not JSON", "the configuration is not a JSON object"),
        (b"[]", "the configuration is not a JSON object"),
        (b"[" * 40, "the configuration is nested more than 32 levels deep"),
        (b"{" + b" " * 2**20 + b"}", "the configuration has more than 1048576 bytes"),
    ],
)
def test_an_unreadable_configuration_has_a_reason(
    site: MemorySite, config: bytes, problem: str
) -> None:
    found = described(site, push(site, config))
    assert (found["configuration"], found["config_error"]) == (None, problem)
    assert len(found["layers"]) == len(LAYERS)


def test_values_of_the_wrong_type_are_left_out(site: MemorySite) -> None:
    keys = ["created", "author", "os", "variant", "config", "history"]
    values: list[object] = [None, 1, "text", [1], {"a": 1}, [{"created": "yesterday"}]]
    for key, value in itertools.product(keys, values):
        digest = push(site, json.dumps({**CONFIG, key: value}).encode())
        found = details(site).of(site.repository, digest)
        assert (found.config_error, len(found.layers)) == (None, len(LAYERS)), (key, value)
        # The schema of the response permits no other values.
        response = serialize_image(found, manifest=True)
        TypeAdapter(ImageSchema).validate_python(response, strict=True)


def test_an_image_is_described_while_all_its_stores_are_down(site: MemorySite) -> None:
    digest = push(site, json.dumps(CONFIG).encode())
    site.locations.health.end_probe("us", StoreUnavailable("us", "refused"))
    found = described(site, digest)
    assert found["configuration"] is None
    assert found["config_error"]
    assert [len(one["copies"]) for one in found["layers"]] == [1, 1]


def test_an_index_has_its_platforms(site: MemorySite) -> None:
    image = push(site, json.dumps(CONFIG).encode())
    index = put(site, index_of({"arm64": image}), INDEX_TYPE, "list")
    found = described(site, index)
    assert [(one["digest"], one["platform"], one["present"]) for one in found["platforms"]] == [
        (str(image), "linux/arm64", True)
    ]
    assert (found["configuration"], found["config_error"], found["layers"]) == (None, None, [])


def test_referrers_are_listed_with_their_referrers(site: MemorySite) -> None:
    image = push(site, json.dumps(CONFIG).encode())
    sbom = referrer(site, image, b"sbom")
    signature = referrer(site, sbom, b"signature")
    found = described(site, image, "referrers")
    assert found["complete"]
    assert [(one["digest"], one["subject"]) for one in found["referrers"]] == [
        (str(sbom), str(image)),
        (str(signature), str(sbom)),
    ]


def test_the_image_of_a_tag_is_that_of_its_digest_with_the_period(site: MemorySite) -> None:
    image = push(site, json.dumps(CONFIG).encode())
    referrer(site, image, b"sbom")
    api, path = ApiClient(site), f"repository/{site.repository}/tag/latest"
    query = {"manifest": "true", "referrers": "true"}
    found = api.call("GET", f"{path}/image", query=query)
    assert found.pop("start_ts") == pytest.approx(time.time(), abs=600)
    manifest = site.manifests().get(site.repository, str(image))
    assert found.pop("manifest_data") == manifest.content.decode()
    assert found.pop("referrers") == described(site, image, "referrers")
    assert found == described(site, image)
    api.call("PUT", path, {"expiration": 4102444800}, status=201)
    assert api.call("GET", f"{path}/image")["end_ts"] == 4102444800
    api.call("DELETE", path, status=204)
    api.call("GET", f"{path}/image", status=404)
    api.call("GET", f"{path}%20/image", status=400)


def test_private_images_are_described_to_readers_only(site: MemorySite) -> None:
    digest = push(site, json.dumps(CONFIG).encode())
    for what in ("image", "referrers"):
        path = f"repository/{site.repository}/manifest/{digest}/{what}"
        ApiClient(site, None).call("GET", path, status=401)
    path = f"repository/{site.repository}/tag/latest/image"
    ApiClient(site, None).call("GET", path, status=401)
    ApiClient(site).call(
        "GET", f"repository/{site.repository}/manifest/{Digest.of(b'none')}/image", status=404
    )


def test_an_image_with_its_referrers_costs_one_statement(site: MemorySite) -> None:
    digest = push(site, json.dumps(CONFIG).encode())
    query = details(site)
    round_trips.reset()
    query.of(site.repository, digest, referrers=True)
    assert round_trips.counts()[round_trips.DATABASE] == 1
    round_trips.reset()
    ReferrerTree(site.database).of(site.repository, digest)
    assert round_trips.counts()[round_trips.DATABASE] == 1
