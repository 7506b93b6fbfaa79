"""A site whose store is a directory: the application itself sends blobs and ranges."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from atoll.placement.locations.registration import register_locations

from .services import Services
from .site import Client, Site, running_site

REPOSITORY = "admin/app"
DATA = os.urandom(3_000_000)


@pytest.fixture
def site(services: Services, database: str, tmp_path: Path) -> Iterator[Site]:
    changes: dict[str, object] = {
        "DISTRIBUTED_STORAGE_CONFIG": {
            "local": ["LocalStorage", {"storage_path": str(tmp_path / "store")}]
        },
        "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": [],
        "DISTRIBUTED_STORAGE_PREFERENCE": ["local"],
        "FEATURE_STORAGE_REPLICATION": False,
    }
    with running_site(services, database, tmp_path / "local", "local", changes) as running:
        register_locations(running.services.database, running.services.locations.stores)
        running.services.locations.states.refresh(running.services.database)
        yield running


@pytest.fixture
def local(site: Site) -> Iterator[Client]:
    client = Client(site)
    yield client
    # The site stops only when no client is connected.
    client.session.close()


def test_a_blob_and_its_ranges_can_be_pulled_unchanged(local: Client) -> None:
    digest = local.push_blob(REPOSITORY, DATA)
    answer = local.pull_blob(REPOSITORY, digest)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["Docker-Content-Digest"] == digest
    for header, expected in (("bytes=0-0", DATA[:1]), ("bytes=-5", DATA[-5:])):
        part = local.pull_blob(REPOSITORY, digest, headers={"Range": header})
        assert (part.status_code, part.content) == (206, expected)
        assert part.headers["Content-Range"].endswith(f"/{len(DATA)}")


def test_a_range_beyond_the_end_is_416_with_the_size(local: Client) -> None:
    digest = local.push_blob(REPOSITORY, b"0123456789")
    answer = local.pull_blob(REPOSITORY, digest, headers={"Range": "bytes=10-"})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */10"


def test_a_range_of_another_version_is_answered_with_the_whole_blob(local: Client) -> None:
    digest = local.push_blob(REPOSITORY, b"0123456789")
    headers = {"Range": "bytes=0-1", "If-Range": '"other"'}
    answer = local.pull_blob(REPOSITORY, digest, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"0123456789")
    headers["If-Range"] = answer.headers["ETag"]
    assert local.pull_blob(REPOSITORY, digest, headers=headers).status_code == 206


def test_a_missing_object_is_an_error_and_not_a_truncated_response(
    local: Client, tmp_path: Path
) -> None:
    digest = local.push_blob(REPOSITORY, b"0123456789")
    hexadecimal = digest.partition(":")[2]
    (tmp_path / "store/sha256" / hexadecimal[:2] / hexadecimal).unlink()
    answer = local.pull_blob(REPOSITORY, digest)
    assert answer.status_code == 503
    assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
