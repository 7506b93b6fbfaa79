"""Repositories of a disabled namespace are neither listed nor used as a source of blobs."""

from __future__ import annotations

import requests

from .clients import Api, add_user
from .images import push_image_with_layer
from .site import Client, Site

LAYER = b"a layer of a disabled user"


def _catalog(client: Client) -> str:
    return client.request("GET", "/v2/_catalog", "registry:catalog:*").text


def test_repositories_of_a_disabled_user_are_not_listed(us: Site) -> None:
    api = Api(us)
    bob, alice = add_user(api, "bob"), add_user(api, "alice")
    bob.call("POST", "repository", {"namespace": "bob", "repository": "app",
                                    "visibility": "public", "description": ""}, 201)  # fmt: skip
    reader = Client(us, "alice", "another password")
    assert "bob/app" in _catalog(reader)
    assert alice.call("GET", "repository?public=true")["repositories"]
    api.call("PUT", "superuser/users/bob", {"enabled": False})
    assert "bob/app" not in _catalog(reader)
    assert alice.call("GET", "repository?public=true")["repositories"] == []


def test_a_blob_of_a_disabled_user_is_not_mounted(us: Site) -> None:
    api = Api(us)
    bob = add_user(api, "bob")
    add_user(api, "alice")
    owner = Client(us, "bob", "another password")
    push_image_with_layer(owner, "bob/app", "v1", LAYER)
    bob.call("POST", "repository/bob/app/changevisibility", {"visibility": "public"})
    digest = owner.push_blob("bob/app", LAYER)

    def mount() -> requests.Response:
        # Each request uses a new token.
        return Client(us, "alice", "another password").request(
            "POST",
            f"/v2/alice/app/blobs/uploads/?mount={digest}&from=bob/app",
            "repository:alice/app:pull,push repository:bob/app:pull",
        )

    api.call("PUT", "superuser/users/bob", {"enabled": False})
    assert mount().status_code == 202
    api.call("PUT", "superuser/users/bob", {"enabled": True})
    assert mount().status_code == 201
