"""The permission to read a tag is checked for each request, also if the tag is in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from atoll import round_trips
from atoll.auth.access import PULL, Grant
from atoll.auth.tokens import Tokens
from atoll.names import RepositoryName
from atoll.web.app import create_app
from falcon import testing

from .sites import MANIFEST_TYPE, SUPERUSER, MemorySite, image_manifest, make_registry

PATH = "/v2/admin/app/manifests/v1"
NAME = RepositoryName(SUPERUSER, "app")


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    """A site with a tag that every process may keep in memory."""
    site = make_registry(make_database(), tmp_path, ["us"])["us"]
    site.push(b"{}")
    site.manifests().put(
        NAME, "v1", image_manifest(b"{}", []), MANIFEST_TYPE, tags=[], username=SUPERUSER
    )
    site.graph.tag_cache.prove(float("inf"))
    return site


@pytest.fixture
def client(site: MemorySite) -> testing.TestClient:
    return testing.TestClient(create_app(site.graph.dependencies()))


def token(site: MemorySite, name: RepositoryName, repository_id: int | None) -> dict[str, str]:
    """Return the header of a token for pulls."""
    tokens = Tokens.from_bundle(site.graph.secured_bundle)
    grant = Grant(name, frozenset({PULL}), id=repository_id)
    return {"Authorization": f"Bearer {tokens.issue(None, [grant])[0]}"}


def test_only_a_token_for_the_repository_gets_a_tag_from_memory(
    site: MemorySite, client: testing.TestClient
) -> None:
    repository_id = site.database.read("SELECT id FROM repository")[0][0]
    valid = token(site, NAME, repository_id)
    for _ in range(2):
        assert client.simulate_get(PATH, headers=valid).status_code == 200
    assert round_trips.counts() == {}
    other = RepositoryName(SUPERUSER, "other")
    for headers in (
        {},
        {"Authorization": "Bearer forged"},
        token(site, other, repository_id),
        # The account that the token names none of may not read this repository.
        token(site, NAME, None),
    ):
        site.database.run("UPDATE repository SET visibility = 'private'")
        assert client.simulate_get(PATH, headers=headers).status_code == 401
    # A token for an earlier repository of that name.
    earlier = token(site, NAME, repository_id + 1000)
    assert client.simulate_get(PATH, headers=earlier).status_code == 404


def test_a_pull_from_memory_is_in_the_audit_log(
    site: MemorySite, client: testing.TestClient
) -> None:
    repository_id = site.database.read("SELECT id FROM repository")[0][0]
    for _ in range(3):
        client.simulate_get(PATH, headers=token(site, NAME, repository_id))
    site.graph.pulls._write()
    rows = site.database.read("SELECT count(*) FROM logentry WHERE kind = 'pull_repo'")
    assert rows[0][0] == 3
