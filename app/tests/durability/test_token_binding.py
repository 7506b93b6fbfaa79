"""A token grants access only to the repository that it was issued for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from atoll.auth.users import create_user
from atoll.db.lost_deletions import LostDeletions
from atoll.db.shared_redis import SharedRedis
from atoll.names import Digest, RepositoryName
from atoll.placement.placement_cache import cache_key
from atoll.registry.blob_rights import right_cache_key
from atoll.registry.errors import BlobUnknown, ManifestUnknown, RepositoryReplaced
from atoll.web.app import create_app
from falcon import testing
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from ..integration.conftest import cheap_passwords
from .memory_redis import MemoryClient, MemoryRedis
from .sites import MANIFEST_TYPE, SUPERUSER, MemorySite, image_manifest, make_registry
from .token_machine import USERS, TokenBinding

__all__ = ["cheap_passwords"]

_SETTINGS = settings(
    deadline=None,
    database=None,
    stateful_step_count=25,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
_EXAMPLES, _EXAMPLES_OF_LONG_RUN = 20, 500


def seekable(app: Callable[..., Any]) -> Any:
    """Pass bodies as files, as waitress does, without the checks of Falcon's test client."""

    def call(environment: dict[str, Any], start: Callable[..., Any]) -> Any:
        return app({**environment, "wsgi.input": environment["wsgi.input"].input}, start)

    return call


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    """A site with a cache in memory."""
    site = make_registry(make_database(), tmp_path, ["us"])["us"]
    client = cast(Any, MemoryClient(MemoryRedis()))
    redis = SharedRedis(client, LostDeletions(site.database))
    redis.resume_reads(database_available=True)
    site.graph.__dict__["redis"] = redis
    return site


@pytest.fixture
def machine(site: MemorySite, monkeypatch: pytest.MonkeyPatch) -> type[TokenBinding]:
    # The rules are about tokens, so any password is accepted, and no failure is counted.
    monkeypatch.setattr("atoll.auth.credentials.verify_password", lambda *_, **__: True)
    for method in ("check", "check_again", "succeeded"):
        monkeypatch.setattr(f"atoll.auth.throttle.Throttle.{method}", lambda *_: None)
    for user in USERS:
        create_user(site.database, user, None, "any password")
    TokenBinding.site = site
    TokenBinding.client = testing.TestClient(seekable(create_app(site.graph.dependencies())))
    TokenBinding.reads = TokenBinding.writes = 0
    return TokenBinding


def test_tokens_grant_no_access_to_later_repositories_in_a_fixed_set_of_histories(
    machine: type[TokenBinding],
) -> None:
    examples = settings(_SETTINGS, max_examples=_EXAMPLES, derandomize=True)
    run_state_machine_as_test(machine, settings=examples)
    assert machine.reads > 0
    assert machine.writes > 0


@pytest.mark.long
def test_tokens_grant_no_access_to_later_repositories_in_random_histories(
    machine: type[TokenBinding],
) -> None:
    examples = settings(_SETTINGS, max_examples=_EXAMPLES_OF_LONG_RUN, derandomize=False)
    run_state_machine_as_test(machine, settings=examples)


def test_cached_keys_of_a_deleted_repository_are_not_served_to_another_one(
    site: MemorySite,
) -> None:
    """A process that is killed after its commit leaves cached keys behind."""
    data, name = b"the config", RepositoryName(SUPERUSER, "app")
    digest, manifest = site.push(data), image_manifest(data, [])
    manifests = site.graph.dependencies().manifests
    manifests.put(name, "latest", manifest, MANIFEST_TYPE, tags=[], username=SUPERUSER)
    old = name.bound(site.database.read("SELECT id FROM repository")[0][0])
    client = site.graph.redis._client
    client.server.values.clear()  # type: ignore[attr-defined]
    for _ in range(2):
        assert site.graph.blobs.find(old, digest).size == len(data)
        assert manifests.get(old, str(Digest.of(manifest))).content == manifest
    site.database.run("DELETE FROM repository")
    assert site.graph.repositories.create(name, "private", SUPERUSER)
    new = name.bound(site.database.read("SELECT id FROM repository")[0][0])
    assert client.mget((right_cache_key(name, digest), cache_key(digest)))
    with pytest.raises(BlobUnknown):
        site.graph.blobs.find(new, digest)
    with pytest.raises(ManifestUnknown):
        manifests.get(new, str(Digest.of(manifest)))


def test_a_right_cached_by_an_earlier_version_is_verified_in_the_database(site: MemorySite) -> None:
    digest, name = site.push(b"the config"), site.repository
    bound = name.bound(site.database.read("SELECT id FROM repository")[0][0])
    client = site.graph.redis._client
    client.server.values.clear()  # type: ignore[attr-defined]
    client.server.values[right_cache_key(name, digest)] = b"1"  # type: ignore[attr-defined]
    assert site.graph.blobs.find(bound, digest).size == len(b"the config")
    site.database.run("DELETE FROM repository")
    with pytest.raises(BlobUnknown):
        site.graph.blobs.find(bound, digest)


def test_a_push_to_a_repository_created_meanwhile_by_another_user_is_refused(
    site: MemorySite,
) -> None:
    """The name is free when the token is checked, and in use when the push needs it."""
    name = RepositoryName("corp", "app").bound(0)
    for user in ("mallory", "bob"):
        create_user(site.database, user, None, "any password")
    site.graph.repositories.create_for_push("bob", name)
    for action in (
        lambda: site.graph.uploads.start(name, "mallory"),
        lambda: site.graph.repositories.create_for_push("mallory", name),
    ):
        with pytest.raises(Exception, match="may not push"):
            action()
    upload = site.graph.uploads.start(name, "bob")
    assert upload.name.id
    with pytest.raises(RepositoryReplaced):
        site.graph.uploads.start(name.bound(upload.name.id + 1), "bob")
