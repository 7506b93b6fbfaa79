"""A token is valid for one repository, and not for a later one with the same name."""

from __future__ import annotations

import os

import pytest

from ..image.protocol import sha256
from ..image.running import RunningImage
from .token_users import User, actions_of, manifest_of, new_user, superuser, unique

SECRET = b"the secret of bob"


@pytest.fixture(scope="module")
def mallory(image: RunningImage) -> User:
    return new_user(image, "mallory")


@pytest.fixture(scope="module")
def bob(image: RunningImage) -> User:
    return new_user(image, "bob")


def scope(name: str) -> str:
    return f"repository:{name}:pull,push,delete"


def assert_powerless(user: User, token: str, name: str, secret: bytes) -> None:
    """Attempt to read, write, overwrite and delete."""
    manifest = sha256(manifest_of(secret))
    reads = (
        f"/v2/{name}/tags/list",
        f"/v2/{name}/manifests/latest",
        f"/v2/{name}/manifests/{manifest}",
        f"/v2/{name}/blobs/{sha256(secret)}",
        f"/v2/{name}/referrers/{manifest}",
    )
    for path in reads:
        answer = user.request(token, "GET", path)
        if "referrers" in path and answer.status_code == 200:
            assert answer.json()["manifests"] == []
        else:
            assert answer.status_code in {401, 404}, (path, answer.status_code)
        assert secret not in answer.content
    assert user.push_blob(token, name, os.urandom(20)).status_code in {401, 403, 404}
    assert user.push_manifest(token, name, "latest", secret).status_code in {401, 403, 404}
    mounted = {"mount": sha256(secret), "from": name}
    answer = user.request(token, "POST", f"/v2/{name}/blobs/uploads/", params=mounted)
    assert answer.status_code in {401, 403, 404}
    for path in (*reads[1:4],):
        assert user.request(token, "DELETE", path).status_code in {401, 403, 404}


def assert_untouched(owner: User, name: str, secret: bytes) -> None:
    token = owner.token(scope(name))
    answer = owner.request(token, "GET", f"/v2/{name}/manifests/latest")
    assert answer.content == manifest_of(secret)
    assert owner.request(token, "GET", f"/v2/{name}/tags/list").json()["tags"] == ["latest"]


def create_private(owner: User, organization: str, secret: bytes = SECRET) -> str:
    """Create an organization with a private repository and an image."""
    owner.change("POST", "organization/", {"name": organization, "email": ""})
    return create_repository(owner, organization, secret)


def create_repository(owner: User, organization: str, secret: bytes) -> str:
    body = {
        "namespace": organization,
        "repository": "app",
        "visibility": "private",
        "description": "",
    }
    owner.change("POST", "repository", body)
    name = f"{organization}/app"
    owner.push(owner.token(scope(name)), name, "latest", secret)
    return name


def test_a_token_for_a_free_namespace_is_invalid_once_another_user_owns_it(
    mallory: User, bob: User
) -> None:
    organization = unique("corp")
    early = mallory.token(scope(f"{organization}/app"))
    assert actions_of(early) == {"pull", "push", "delete"}
    name = create_private(bob, organization)
    assert actions_of(mallory.token(scope(name))) == set()
    assert_powerless(mallory, early, name, SECRET)
    assert_untouched(bob, name, SECRET)


def test_a_creators_token_is_invalid_for_a_repository_that_another_user_created(
    image: RunningImage, bob: User
) -> None:
    carol = new_user(image, "carol")
    organization = unique("corp")
    bob.change("POST", "organization/", {"name": organization, "email": ""})
    bob.change("PUT", f"organization/{organization}/team/makers", {"role": "creator"})
    bob.change("PUT", f"organization/{organization}/team/makers/members/{carol.username}")
    early = carol.token(scope(f"{organization}/app"))
    assert "push" in actions_of(early)
    name = create_repository(bob, organization, SECRET)
    assert actions_of(carol.token(scope(name))) == set()
    assert_powerless(carol, early, name, SECRET)
    assert_untouched(bob, name, SECRET)


def test_a_token_is_invalid_for_a_recreated_repository(
    image: RunningImage, mallory: User, bob: User
) -> None:
    organization = unique("corp")
    name = create_private(mallory, organization, b"of mallory")
    old = mallory.token(scope(name))
    superuser(image).change("DELETE", f"superuser/organizations/{organization}")
    create_private(bob, organization)
    assert_powerless(mallory, old, name, SECRET)
    assert_untouched(bob, name, SECRET)


def test_a_token_of_a_renamed_namespace_is_invalid_for_the_next_owner_of_the_name(
    image: RunningImage, mallory: User, bob: User
) -> None:
    organization, renamed = unique("corp"), unique("corp")
    name = create_private(mallory, organization, b"of mallory")
    old = mallory.token(scope(name))
    location = mallory.request(old, "POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
    body = {"name": renamed}
    superuser(image).change("PUT", f"superuser/organizations/{organization}", body)
    create_private(bob, organization)
    assert_powerless(mallory, old, name, SECRET)
    # Entries cached under the name, and uploads in progress, give no access either.
    params = {"digest": sha256(b"x")}
    assert mallory.request(old, "PUT", location, params=params, data=b"x").status_code == 404
    assert_untouched(bob, name, SECRET)


def test_an_upload_under_an_old_name_cannot_be_finished_with_a_token_for_the_new_one(
    image: RunningImage, mallory: User, bob: User
) -> None:
    """The upload belongs to a renamed namespace; the new owner of its name cannot finish it."""
    organization, renamed = unique("corp"), unique("corp")
    name = create_private(bob, organization)
    bob.change("PUT", f"repository/{name}/permissions/user/{mallory.username}", {"role": "write"})
    token = mallory.token(scope(name))
    location = mallory.request(token, "POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
    body = {"name": renamed}
    superuser(image).change("PUT", f"superuser/organizations/{organization}", body)
    create_private(mallory, organization, b"of mallory")
    fresh, data = mallory.token(scope(name)), os.urandom(20)
    params = {"digest": sha256(data)}
    assert mallory.request(fresh, "PUT", location, params=params, data=data).status_code == 404
    path = f"/v2/{renamed}/app/blobs/{sha256(data)}"
    owner = bob.token(f"repository:{renamed}/app:pull")
    assert bob.request(owner, "HEAD", path).status_code == 404


def test_a_token_of_a_deleted_user_lists_and_mounts_nothing_of_a_later_namesake(
    image: RunningImage,
) -> None:
    first = new_user(image, "shared")
    target = f"{unique('corp')}/app"
    token = first.token("registry:catalog:*", scope(target))
    superuser(image).change("DELETE", f"superuser/users/{first.username}")
    body = {"username": first.username, "email": f"{first.username}@example.org"}
    answer = superuser(image).api("POST", "superuser/users/", body)
    second = User(image, first.username, answer.json()["password"])
    name = f"{second.username}/app"
    second.push(second.token(scope(name)), name, "latest", SECRET)
    listed = second.request(second.token(), "GET", "/v2/_catalog", params={"n": 10000})
    assert name in listed.json()["repositories"]
    listed = first.request(token, "GET", "/v2/_catalog", params={"n": 10000})
    assert name not in listed.json().get("repositories", [])
    params = {"mount": sha256(SECRET)}
    answer = first.request(token, "POST", f"/v2/{target}/blobs/uploads/", params=params)
    assert answer.status_code in {401, 403}


def test_a_push_with_a_token_older_than_its_repository_succeeds(mallory: User) -> None:
    name = f"{unique('corp')}/app"
    token = mallory.token(scope(name))
    mallory.push(token, name, "v1", os.urandom(20))
    mallory.push(token, name, "v2", os.urandom(20))
    assert mallory.request(token, "GET", f"/v2/{name}/tags/list").json()["tags"] == ["v1", "v2"]


def test_a_push_with_a_token_of_a_deleted_repository_is_challenged(
    mallory: User,
) -> None:
    name = create_private(mallory, unique("corp"), b"of mallory")
    token = mallory.token(scope(name))
    mallory.change("DELETE", f"repository/{name}")
    answer = mallory.push_blob(token, name, b"x")
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    mallory.push(mallory.token(scope(name)), name, "latest", b"x")


def test_a_read_only_repository_cannot_be_changed_with_an_older_token(bob: User) -> None:
    name = create_private(bob, unique("corp"))
    token = bob.token(scope(name))
    location = bob.request(token, "POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
    spare = bob.push_blob(token, name, b"spare").headers["Docker-Content-Digest"]
    bob.change("PUT", f"repository/{name}/changestate", {"state": "READ_ONLY"})
    manifest = sha256(manifest_of(SECRET))
    for path in ("manifests/latest", f"manifests/{manifest}", f"blobs/{spare}"):
        assert bob.request(token, "DELETE", f"/v2/{name}/{path}").status_code == 403
    assert bob.request(token, "POST", f"/v2/{name}/blobs/uploads/").status_code == 403
    assert bob.push_manifest(token, name, "new", SECRET).status_code == 403
    params = {"digest": sha256(b"x")}
    assert bob.request(token, "PUT", location, params=params, data=b"x").status_code == 403
    assert_untouched(bob, name, SECRET)


def test_repositories_of_a_disabled_user_are_inaccessible(image: RunningImage) -> None:
    """An older token can neither read nor write in the namespace of a disabled user."""
    user = new_user(image, "fired")
    name = f"{user.username}/app"
    user.push(user.token(scope(name)), name, "latest", SECRET)
    token = user.token(scope(name))
    assert user.request(token, "GET", f"/v2/{name}/manifests/latest").status_code == 200
    superuser(image).change("PUT", f"superuser/users/{user.username}", {"enabled": False})
    for path in ("manifests/latest", "tags/list", f"blobs/{sha256(SECRET)}"):
        assert user.request(token, "GET", f"/v2/{name}/{path}").status_code == 404
    assert user.push_blob(token, name, b"x").status_code == 401
