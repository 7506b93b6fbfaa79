"""Only the robot of a mirror changes its repository, with tokens of any age."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from atoll.auth import users
from atoll.auth.robot_rule import RobotRule
from atoll.auth.robots import RobotInUse, Robots
from atoll.names import Digest, RepositoryName
from atoll.registry.errors import Denied, ManifestUnknown
from atoll.registry.tags import Tags

from .api_client import ApiClient
from .mirrored import ROBOT, make_mirror, make_robot, mirrors
from .sites import (
    MANIFEST_TYPE,
    SUPERUSER,
    MemoryRegistry,
    MemorySite,
    image_manifest,
    make_registry,
)

CONTENT = b"a config"
MANIFEST = image_manifest(CONTENT, [])
ALL = {"pull", "push", "delete"}


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    """A site with an image in the repository `app`."""
    registry = make_registry(make_database(), tmp_path, ["us"], {"FEATURE_REPO_MIRROR": True})
    site = registry["us"]
    site.push(CONTENT)
    _push(site, SUPERUSER, "v1")
    return site


def _push(site: MemorySite, username: str | None, tag: str) -> None:
    site.manifests().put(site.repository, tag, MANIFEST, MANIFEST_TYPE, tags=[], username=username)


def _mirror(site: MemorySite) -> None:
    make_mirror(site, site.repository)


def _state(site: MemorySite, state: str) -> None:
    path = f"repository/{site.repository}/changestate"
    assert ApiClient(site).call("PUT", path, {"state": state}) == {"success": True}


def _actions(site: MemorySite, username: str | None) -> set[str]:
    return set(site.graph.access.grants(username, [site.repository])[0].actions)


def test_tokens_permit_pushes_to_the_robot_only(site: MemorySite) -> None:
    assert _actions(site, SUPERUSER) == ALL
    _mirror(site)
    assert _actions(site, SUPERUSER) == {"pull"}
    assert _actions(site, ROBOT) == ALL


def test_another_robot_with_push_permission_may_only_pull(site: MemorySite) -> None:
    _mirror(site)
    make_robot(site, f"{SUPERUSER}+other")
    path = f"repository/{site.repository}/permissions/user/{SUPERUSER}+other"
    ApiClient(site).call("PUT", path, {"role": "admin"})
    assert _actions(site, f"{SUPERUSER}+other") == {"pull"}


def test_the_robot_needs_its_permission(site: MemorySite) -> None:
    _mirror(site)
    ApiClient(site).call(
        "DELETE", f"repository/{site.repository}/permissions/user/{ROBOT}", status=204
    )
    assert _actions(site, ROBOT) == set()


def test_without_a_mirror_no_user_changes_a_repository_in_state_mirror(site: MemorySite) -> None:
    make_robot(site)
    _state(site, "MIRROR")
    assert _actions(site, SUPERUSER) == {"pull"}
    with pytest.raises(Denied):
        _push(site, ROBOT, "v2")
    _state(site, "NORMAL")
    assert _actions(site, SUPERUSER) == ALL


@pytest.mark.parametrize("state", ["READ_ONLY", "NORMAL"])
def test_in_other_states_the_robot_is_an_ordinary_one(site: MemorySite, state: str) -> None:
    _mirror(site)
    _state(site, state)
    expected = ALL if state == "NORMAL" else {"pull"}
    assert _actions(site, ROBOT) == _actions(site, SUPERUSER) == expected


@pytest.mark.parametrize("username", [SUPERUSER, None, f"{SUPERUSER}+other"])
def test_earlier_tokens_of_others_change_nothing(site: MemorySite, username: str | None) -> None:
    make_robot(site, f"{SUPERUSER}+other")
    _mirror(site)
    name, digest = site.repository, Digest.of(MANIFEST)
    with pytest.raises(Denied):
        _push(site, username, "v2")
    with pytest.raises(Denied):
        site.graph.uploads.start(name, username)
    with pytest.raises(Denied):
        site.manifests().delete(name, digest, username)
    with pytest.raises(Denied):
        Tags(site.database).delete(name, "v1", username)
    with pytest.raises(Denied):
        site.graph.blobs.delete(name, Digest.of(CONTENT), username)
    assert site.manifests().get(name, "v1").digest == digest


def test_the_robot_pushes_and_deletes(site: MemorySite) -> None:
    _mirror(site)
    site.graph.uploads.start(site.repository, ROBOT)
    _push(site, ROBOT, "v2")
    Tags(site.database).delete(site.repository, "v1", ROBOT)
    site.manifests().delete(site.repository, Digest.of(MANIFEST), ROBOT)
    with pytest.raises(ManifestUnknown):
        site.manifests().get(site.repository, "v2")


def test_the_robot_of_another_mirror_changes_nothing(site: MemorySite) -> None:
    _mirror(site)
    second = make_mirror(site, RepositoryName(SUPERUSER, "second"))
    make_robot(site, f"{SUPERUSER}+other")
    mirrors(site).change(second, {"robot_username": f"{SUPERUSER}+other"})
    with pytest.raises(Denied):
        _push(site, f"{SUPERUSER}+other", "v2")


@pytest.mark.parametrize("state", ["MIRROR", "READ_ONLY"])
def test_the_api_changes_no_content(site: MemorySite, state: str) -> None:
    api, base = ApiClient(site), f"repository/{site.repository}"
    digest = str(Digest.of(MANIFEST))
    label = {"key": "a", "value": "b", "media_type": "text/plain"}
    labels = f"{base}/manifest/{digest}/labels"
    uuid = api.call("POST", labels, label, status=201)["label"]["id"]
    _state(site, state)
    for method, path, body in [
        ("PUT", f"{base}/tag/v2", {"manifest_digest": digest}),
        ("PUT", f"{base}/tag/v1", {"expiration": 2**32}),
        ("DELETE", f"{base}/tag/v1", None),
        ("POST", f"{base}/tag/v1/restore", {"manifest_digest": digest}),
        ("POST", f"{base}/tag/v1/expire", {"manifest_digest": digest}),
        ("POST", labels, label),
        ("DELETE", f"{labels}/{uuid}", None),
    ]:
        refused = api.call(method, path, body, status=503)
        assert refused["detail"] == "Repository is in read only or mirror mode"
    assert [tag["name"] for tag in api.call("GET", f"{base}/tag/")["tags"]] == ["v1"]
    assert api.call("GET", base)["state"] == state


def test_states_of_organization_mirrors_and_others_are_refused(site: MemorySite) -> None:
    path = f"repository/{site.repository}/changestate"
    for state in ("ORG_MIRROR", "mirror", None):
        refused = ApiClient(site).call("PUT", path, {"state": state}, status=400)
        assert refused["detail"].startswith("state: ")


def test_the_state_requires_its_feature(registry: MemoryRegistry) -> None:
    site = registry["us"]
    site.push(CONTENT)
    refused = ApiClient(site).call(
        "PUT", f"repository/{site.repository}/changestate", {"state": "MIRROR"}, status=400
    )
    assert "FEATURE_REPO_MIRROR" in refused["detail"]


def test_architectures_require_sparse_indexes(site: MemorySite) -> None:
    _mirror(site)
    path = f"repository/{site.repository}/mirror"
    body = {"sync_interval": 1, "architecture_filter": ["amd64"]}
    refused = ApiClient(site).call("PUT", path, body, status=400)
    assert refused["detail"] == "architecture_filter: requires FEATURE_SPARSE_INDEX: true"
    assert ApiClient(site).call("GET", path)["sync_interval"] == 3600
    ApiClient(site).call("PUT", path, {**body, "architecture_filter": []}, status=201)


def test_a_robot_of_a_mirror_is_not_deleted(site: MemorySite) -> None:
    _mirror(site)
    refused = ApiClient(site).call("DELETE", "user/robots/mirror", status=400)
    assert f"'{site.repository}'" in refused["detail"]
    robots = Robots(site.database, site.graph.cipher, RobotRule())
    with pytest.raises(RobotInUse):
        robots.delete(SUPERUSER, "mirror")
    mirrors(site).delete(site.repository)
    robots.delete(SUPERUSER, "mirror")


def test_a_user_is_deleted_with_robots_and_mirrors(site: MemorySite) -> None:
    user = users.create_user(site.database, "bob", None, "a password")
    assert user
    make_robot(site, "bob+mirror")
    make_mirror(site, RepositoryName("bob", "copy"), {"robot_username": "bob+mirror"})
    ApiClient(site).call("DELETE", "superuser/users/bob", status=204)
    assert mirrors(site).list() == []
