"""A registry for tests of the panel: users, repositories and images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from atoll.auth import users
from atoll.names import Digest, RepositoryName

from .api_client import PASSWORD
from .databases import administer, database_uri
from .sites import (
    MANIFEST_TYPE,
    SUPERUSER,
    MemoryRegistry,
    MemorySite,
    image_manifest,
    make_registry,
)

AUDITOR, READER, STRANGER = "auditor", "reader", "stranger"
PUBLIC, PRIVATE = RepositoryName(SUPERUSER, "public"), RepositoryName(SUPERUSER, "private")


@pytest.fixture(scope="session")
def panel_uri(postgres_uri: str, template: str) -> Iterator[str]:
    """The database of `panel_site`."""
    name = f"{template}_panel"
    administer(postgres_uri, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield database_uri(postgres_uri, name)
    administer(postgres_uri, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def panel_site(panel_uri: str, tmp_path_factory: pytest.TempPathFactory) -> MemorySite:
    """A site that all tests of the panel share; they must not change what it has."""
    return make_panel_site(panel_uri, tmp_path_factory.mktemp("panel"))


def make_panel_site(
    uri: str,
    directory: Path,
    changes: dict[str, Any] | None = None,
    *,
    locations: list[str] | None = None,
) -> MemorySite:
    """Return the site us of `make_panel_registry`."""
    return make_panel_registry(uri, directory, changes, locations=locations)["us"]


def make_panel_registry(
    uri: str,
    directory: Path,
    changes: dict[str, Any] | None = None,
    *,
    locations: list[str] | None = None,
) -> MemoryRegistry:
    """Return a registry with three users and two repositories with an image.

    `reader` may read the private repository, `stranger` has no permission, and `auditor` may read
    everything.
    """
    settings = {
        "FEATURE_SERVER_TIMING": True,
        "FEATURE_REPO_MIRROR": True,
        "FEATURE_ORG_MIRROR": True,
        "FEATURE_SPARSE_INDEX": True,
        "SSRF_ALLOWED_HOSTS": ["127.0.0.1"],
        "UPSTREAM_LIMITS": {"registry.example": {"requests": "100/6h"}},
        "GLOBAL_READONLY_SUPER_USERS": [AUDITOR],
        **(changes or {}),
    }
    registry = make_registry(uri, directory, locations or ["us"], settings)
    site = registry["us"]
    for name in (AUDITOR, READER, STRANGER):
        users.create_user(site.database, name, f"{name}@example.com", PASSWORD)
    for repository, visibility in ((PUBLIC, "public"), (PRIVATE, "private")):
        site.graph.repositories.create(repository, visibility, SUPERUSER)
        push_tag(site, repository, "v1")
    site.database.run(
        "INSERT INTO repositorypermission (repository_id, user_id, role)"
        " SELECT r.id, u.id, 'read' FROM repository r, \"user\" u"
        " WHERE r.name = 'private' AND u.username = 'reader' RETURNING id"
    )
    return registry


def push_tag(site: MemorySite, repository: RepositoryName, tag: str) -> Digest:
    """Push an image under a tag and return the digest of its manifest."""
    site.repository = repository
    config = f'{{"tag": "{tag}"}}'.encode()
    site.push(config)
    manifest = image_manifest(config, [])
    site.manifests().put(repository, tag, manifest, MANIFEST_TYPE, tags=[], username=SUPERUSER)
    return Digest.of(manifest)
