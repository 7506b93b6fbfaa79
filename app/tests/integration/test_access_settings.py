"""What a bundle lets superusers do, and what it lets a push make."""

from __future__ import annotations

import base64
from pathlib import Path

import jwt
import pytest
from falcon import testing

from .services import Services
from .site import PASSWORD, SUPERUSER, Client, Site, running_site
from .test_api import Api, add_user
from .test_authentication import changed

WORD = "another password"


def actions(client: testing.TestClient, username: str, word: str, name: str) -> set[str]:
    """Return what a token of somebody's allows with a repository."""
    pair = base64.b64encode(f"{username}:{word}".encode()).decode()
    answer = client.simulate_get(
        "/v2/auth",
        params={"scope": f"repository:{name}:pull,push,delete"},
        headers={"Authorization": f"Basic {pair}"},
    )
    assert answer.status_code == 200
    claims = jwt.decode(answer.json["token"], options={"verify_signature": False})
    return {action for entry in claims["access"] for action in entry["actions"]}


def test_superusers_may_do_everything_with_all_repositories_only_where_the_bundle_says_so(
    us: Site,
) -> None:
    add_user(Api(us), "alice")
    Client(us, "alice", WORD).push_blob("alice/app", b"x")
    pair = base64.b64encode(f"{SUPERUSER}:{PASSWORD}".encode()).decode()
    path = "/api/v1/repository/alice/app/permissions/user/"
    for full, may, status in ((False, set(), 403), (True, {"pull", "push", "delete"}, 200)):
        client = changed(us, feature_superusers_full_access=full)
        assert actions(client, SUPERUSER, PASSWORD, "alice/app") == may
        answer = client.simulate_get(path, headers={"Authorization": f"Basic {pair}"})
        assert answer.status_code == status


@pytest.mark.parametrize(("private", "public"), [(True, False), (False, True)])
def test_a_repository_that_a_push_makes_is_as_private_as_the_bundle_says(
    us: Site, private: bool, public: bool
) -> None:
    client = changed(us, create_private_repo_on_push=private)
    pair = base64.b64encode(f"{SUPERUSER}:{PASSWORD}".encode()).decode()
    basic = {"Authorization": f"Basic {pair}"}
    scope = {"scope": "repository:admin/app:pull,push"}
    token = client.simulate_get("/v2/auth", params=scope, headers=basic).json["token"]
    begun = client.simulate_post(
        "/v2/admin/app/blobs/uploads/", headers={"Authorization": f"Bearer {token}"}
    )
    assert begun.status_code == 202
    assert Api(us).call("GET", "repository/admin/app")["is_public"] is public


@pytest.mark.parametrize(("creating", "may"), [(True, {"pull", "push", "delete"}), (False, set())])
def test_a_push_makes_a_namespace_only_where_the_bundle_says_so(
    us: Site, creating: bool, may: set[str]
) -> None:
    add_user(Api(us), "alice")
    client = changed(us, create_namespace_on_push=creating)
    assert actions(client, "alice", WORD, "fresh/app") == may
    assert actions(client, "alice", WORD, "alice/app") == {"pull", "push", "delete"}


def test_a_layer_is_no_larger_than_the_bundle_says_in_whatever_pieces_it_comes(
    services: Services, database: str, tmp_path: Path
) -> None:
    scope, uploads = "repository:admin/app:pull,push", "/v2/admin/app/blobs/uploads/"
    changes = {"MAXIMUM_LAYER_SIZE": 8}
    with running_site(services, database, tmp_path / "small", "usstorage", changes) as site:
        client = Client(site)
        begun = client.request("POST", uploads, scope)
        chunk = client.request("PATCH", begun.headers["Location"], scope, data=b"12345678")
        assert chunk.status_code == 202
        more = client.request("PATCH", chunk.headers["Location"], scope, data=b"9")
        digest = {"digest": f"sha256:{'0' * 64}"}
        whole = client.request("POST", uploads, scope, params=digest, data=b"123456789")
        for answer in (more, whole):
            assert answer.status_code == 413
            assert answer.json()["errors"][0]["code"] == "SIZE_INVALID"
