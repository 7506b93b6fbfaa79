"""Blobs are not mounted from repositories of a disabled user."""

from __future__ import annotations

from atoll.auth import users
from atoll.names import RepositoryName

from .sites import MemoryRegistry


def test_a_blob_is_not_mounted_from_a_named_repository_of_a_disabled_user(
    registry: MemoryRegistry,
) -> None:
    """The pull permission is in the token, which may be older than the change."""
    site = registry["us"]
    users.create_user(site.database, "bob", None, "a password")
    site.repository = RepositoryName("bob", "app")
    site.graph.repositories.create(site.repository, "public", "bob")
    target = RepositoryName("admin", "copy")
    site.graph.repositories.create(target, "private", "admin")
    digests = [site.push(content) for content in (b"one", b"two")]
    assert site.graph.blob_mounts.mount(target, site.repository, digests[0])
    users.change_user(site.database, "bob", enabled=False)
    assert not site.graph.blob_mounts.mount(target, site.repository, digests[1])
    users.change_user(site.database, "bob", enabled=True)
    assert site.graph.blob_mounts.mount(target, site.repository, digests[1])
