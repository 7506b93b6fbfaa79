"""Repositories of a disabled user are neither listed nor readable."""

from __future__ import annotations

import os

from ..image.protocol import Registry, sha256
from ..image.running import RunningImage
from .visitors import PASSWORD, Visitor, create_user, superuser


def _registry(image: RunningImage, username: str) -> Registry:
    return Registry(image.url, image.authority, username, PASSWORD, f"{username}/app")


def _pull_and_push_token(visitor: Visitor, username: str, source: str) -> dict[str, str]:
    scope = f"repository:{source}:pull repository:{username}/app:pull,push"
    answer = visitor.registry_token((username, PASSWORD), scope)
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def _catalog(visitor: Visitor, auth: tuple[str, str]) -> list[str]:
    token = visitor.registry_token(auth, "registry:catalog:*").json()["token"]
    answer = visitor.send("GET", "/v2/_catalog?n=10000", token)
    names: list[str] = answer.json()["repositories"]
    return names


def test_repositories_of_a_disabled_user_are_hidden_from_others(
    visitor: Visitor, accounts_image: RunningImage
) -> None:
    bob, carol = create_user(accounts_image), create_user(accounts_image)
    source, target = _registry(accounts_image, bob), _registry(accounts_image, carol)
    image, own = source.push_image("v1"), target.push_image("v1")
    admin = superuser(accounts_image)
    path = f"/api/v1/repository/{source.name}/changevisibility"
    body = {"visibility": "public"}
    assert visitor.request("POST", path, (bob, PASSWORD), json=body) == 200

    headers = _pull_and_push_token(visitor, carol, source.name)
    uploads = f"/v2/{target.name}/blobs/uploads/"

    def mount(digest: str, **query: str) -> int:
        query = {"mount": digest, **query}
        return visitor.request("POST", uploads, headers=headers, params=query)

    assert source.name in _catalog(visitor, (carol, PASSWORD))
    assert mount(image.config, **{"from": source.name}) == 201
    path = f"/api/v1/superuser/users/{bob}"
    assert visitor.request("PUT", path, admin, json={"enabled": False}) == 200

    listed = _catalog(visitor, (carol, PASSWORD))
    assert source.name not in listed
    assert target.name in listed
    for user in ((carol, PASSWORD), admin):
        assert visitor.actions(user, source.name) == []
    path = f"/api/v1/find/repositories?query={bob}"
    found = visitor.send("GET", path, (carol, PASSWORD)).json()["results"]
    # Other names are similar, and may be found.
    assert bob not in [one["namespace"]["name"] for one in found]
    # The token is older than the change.
    assert mount(image.layers[0], **{"from": source.name}) == 202
    assert mount(image.layers[0]) == 202
    assert mount(own.layers[0]) == 201
    assert mount(sha256(os.urandom(8))) == 202
