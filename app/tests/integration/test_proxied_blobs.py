"""Where clients cannot or must not be sent to a store, the registry sends the bytes itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from atoll.names import Digest
from atoll.storage.interface import blob_key

from .services import Services
from .site import Client, Site, running_site

REPOSITORY = "admin/app"
DATA = os.urandom(3_000_000)


@pytest.fixture
def proxied(services: Services, database: str, tmp_path: Path) -> Iterator[Site]:
    changes: dict[str, object] = {"FEATURE_PROXY_STORAGE": True}
    preference = "usstorage eustorage"
    with running_site(services, database, tmp_path / "us", preference, changes) as site:
        yield site


def get(client: Client, digest: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    answer = client.request(
        "GET",
        f"/v2/{REPOSITORY}/blobs/{digest}",
        f"repository:{REPOSITORY}:pull",
        headers=headers,
    )
    return answer.status_code, answer.content, dict(answer.headers)


def test_with_proxy_storage_blobs_and_ranges_come_from_the_registry(proxied: Site) -> None:
    client = Client(proxied)
    digest = client.push_blob(REPOSITORY, DATA)
    status, content, headers = get(client, digest)
    assert (status, content) == (200, DATA)
    assert headers["Docker-Content-Digest"] == digest
    status, content, headers = get(client, digest, Range="bytes=1000000-1999999")
    assert (status, content) == (206, DATA[1_000_000:2_000_000])
    assert headers["Content-Range"] == f"bytes 1000000-1999999/{len(DATA)}"


def test_a_client_is_not_sent_to_a_store_that_has_the_registrys_name(us: Site) -> None:
    """It would send the registry's token along, on whatever port."""
    client = Client(us)
    digest = client.push_blob(REPOSITORY, DATA)
    assert get(client, digest)[0] == 307
    port = us.url.rpartition(":")[2]
    status, content, _ = get(client, digest, Host=f"127.0.0.1:{port}")
    assert (status, content) == (200, DATA)


def test_what_the_nearest_store_lacks_comes_from_the_next(proxied: Site, eu: Site) -> None:
    client = Client(proxied)
    digest = client.push_blob(REPOSITORY, DATA)
    eu.copy_all()
    nearest, key = proxied.locations.stores["usstorage"], blob_key(Digest.parse(digest))
    nearest.put(key, DATA[:1_000_000], 1_000_000)
    assert get(client, digest)[:2] == (200, DATA)
    nearest.delete(key)
    status, content, _ = get(client, digest, Range="bytes=1000000-1999999")
    assert (status, content) == (206, DATA[1_000_000:2_000_000])
