"""A token permits the requested actions, and no more."""

from __future__ import annotations

import os

import pytest

from ..image.protocol import sha256
from ..image.running import RunningImage
from .token_users import User, actions_of, manifest_of, new_user, superuser, unique


@pytest.fixture(scope="module")
def bob(image: RunningImage) -> User:
    return new_user(image, "bob")


def test_a_push_token_cannot_delete(bob: User) -> None:
    name, data = f"{bob.username}/app", os.urandom(20)
    token = bob.token(f"repository:{name}:pull,push")
    assert actions_of(token) == {"pull", "push"}
    bob.push(token, name, "v1", data)
    manifest = sha256(manifest_of(data))
    paths = ("manifests/v1", f"manifests/{manifest}", f"blobs/{sha256(data)}")
    for path in paths:
        answer = bob.request(token, "DELETE", f"/v2/{name}/{path}")
        assert answer.status_code == 401
        assert f'scope="repository:{name}:delete"' in answer.headers["WWW-Authenticate"]
    token = bob.token(f"repository:{name}:delete")
    for path in paths:
        assert bob.request(token, "DELETE", f"/v2/{name}/{path}").status_code == 202


def test_every_action_can_be_requested_at_once(bob: User) -> None:
    token = bob.token(f"repository:{bob.username}/all:*")
    assert actions_of(token) == {"pull", "push", "delete"}


def test_a_request_with_very_many_scopes_is_refused(bob: User) -> None:
    scopes = [f"repository:{bob.username}/app{number}:pull" for number in range(101)]
    assert bob.request_token(*scopes).status_code == 400
    assert bob.request_token(" ".join(scopes)).status_code == 400
    assert bob.request_token(*scopes[:100]).status_code == 200


def test_a_push_only_token_is_sufficient_for_every_request_of_a_push(bob: User) -> None:
    name, data = f"{bob.username}/pushed", os.urandom(20)
    token = bob.token(f"repository:{name}:push")
    assert actions_of(token) == {"push"}
    blob, tag = f"/v2/{name}/blobs/{sha256(data)}", f"/v2/{name}/manifests/v1"
    for path in (blob, tag):
        assert bob.request(token, "HEAD", path).status_code == 404
    answer = bob.request(token, "POST", f"/v2/{name}/blobs/uploads/")
    answer = bob.request(token, "PATCH", answer.headers["Location"], data=data)
    assert answer.status_code == 202
    location = answer.headers["Location"]
    assert bob.request(token, "GET", location).status_code == 204
    answer = bob.request(token, "PUT", location, params={"digest": sha256(data)})
    assert answer.status_code == 201
    assert bob.push_manifest(token, name, "v1", data).status_code == 201
    for path in (blob, tag):
        assert bob.request(token, "HEAD", path).status_code == 200
    token = bob.token(f"repository:{name}:push")
    bob.push(token, name, "v2", os.urandom(20))
    abandoned = bob.request(token, "POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
    assert bob.request(token, "DELETE", abandoned).status_code == 204


def test_a_push_only_token_cannot_read(bob: User) -> None:
    name, data = f"{bob.username}/unread", os.urandom(20)
    bob.push(bob.token(f"repository:{name}:push"), name, "v1", data)
    token = bob.token(f"repository:{name}:push")
    digest = sha256(manifest_of(data))
    for path in (
        f"blobs/{sha256(data)}",
        "manifests/v1",
        f"manifests/{digest}",
        "tags/list",
        f"referrers/{digest}",
    ):
        answer = bob.request(token, "GET", f"/v2/{name}/{path}")
        assert answer.status_code == 401, path
        assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
        assert data not in answer.content


def oauth_token(image: RunningImage, username: str, scope: str) -> str:
    answer = image.run("atoll", "token", "create", username, "--scope", scope, "--days", "1")
    assert answer.returncode == 0, answer.stdout
    return answer.stdout.split()[-1]


def catalog(user: User, token: str) -> list[str]:
    answer = user.request(token, "GET", "/v2/_catalog", params={"n": 10000})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["repositories"])


def test_the_catalog_lists_private_repositories_only_for_scopes_that_read_them(
    image: RunningImage, bob: User
) -> None:
    name = f"{bob.username}/listed"
    bob.push(bob.token(f"repository:{name}:pull,push"), name, "v1", os.urandom(20))
    scope = "registry:catalog:*"
    assert name in catalog(bob, bob.token(scope))
    narrow = oauth_token(image, bob.username, "user:read")
    assert name not in catalog(bob, bob.token(scope, oauth=narrow))
    reading = oauth_token(image, bob.username, "repo:read")
    assert name in catalog(bob, bob.token(scope, oauth=reading))


def test_a_superuser_lists_all_repositories_only_with_a_token_for_that(
    image: RunningImage, bob: User
) -> None:
    admin = superuser(image)
    name = f"{bob.username}/of-bob"
    bob.push(bob.token(f"repository:{name}:pull,push"), name, "v1", os.urandom(20))
    scope = "registry:catalog:*"
    assert name in catalog(admin, admin.token(scope))
    assert name not in catalog(admin, admin.token())
    for narrow in ("user:read", "repo:read"):
        oauth = oauth_token(image, admin.username, narrow)
        assert name not in catalog(admin, admin.token(scope, oauth=oauth))


def test_scopes_without_read_permission_mount_nothing_private(
    image: RunningImage, bob: User
) -> None:
    data, name = os.urandom(20), f"{bob.username}/source"
    bob.push(bob.token(f"repository:{name}:pull,push"), name, "v1", data)
    narrow = oauth_token(image, bob.username, "repo:create")
    target = f"{unique('corp')}/made"
    token = bob.token(f"repository:{target}:pull,push", oauth=narrow)
    assert "push" in actions_of(token)
    params = {"mount": sha256(data)}
    answer = bob.request(token, "POST", f"/v2/{target}/blobs/uploads/", params=params)
    assert answer.status_code == 202


def test_a_mount_requires_pull_on_its_source_in_the_same_token(bob: User) -> None:
    source, target, data = f"{bob.username}/from", f"{bob.username}/to", os.urandom(20)
    bob.push(bob.token(f"repository:{source}:pull,push"), source, "v1", data)
    bob.push(bob.token(f"repository:{target}:pull,push"), target, "v1", os.urandom(20))
    params = {"mount": sha256(data), "from": source}
    path, push = f"/v2/{target}/blobs/uploads/", f"repository:{target}:pull,push"
    for extra, status in (
        ([], 202),
        ([f"repository:{source}:push"], 202),
        ([f"repository:{source}:pull"], 201),
    ):
        answer = bob.request(bob.token(push, *extra), "POST", path, params=params)
        assert answer.status_code == status
