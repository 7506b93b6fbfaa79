"""Bundle settings for the permissions of superusers and for what a push creates."""

from __future__ import annotations

import base64
from pathlib import Path

import jwt
import pytest
from falcon import testing

from .clients import Api, add_user, client_with_settings
from .services import Services
from .site import PASSWORD, SUPERUSER, Client, Site, running_site

OTHER_PASSWORD = "another password"


def actions(client: testing.TestClient, username: str, password: str, name: str) -> set[str]:
    """Return the actions on a repository that a user's token contains."""
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    answer = client.simulate_get(
        "/v2/auth",
        params={"scope": f"repository:{name}:pull,push,delete"},
        headers={"Authorization": f"Basic {pair}"},
    )
    assert answer.status_code == 200
    claims = jwt.decode(answer.json["token"], options={"verify_signature": False})
    return {action for entry in claims["access"] for action in entry["actions"]}


def test_superusers_have_full_access_to_repositories_only_if_the_bundle_enables_it(
    us: Site,
) -> None:
    add_user(Api(us), "alice")
    Client(us, "alice", OTHER_PASSWORD).push_blob("alice/app", b"x")
    pair = base64.b64encode(f"{SUPERUSER}:{PASSWORD}".encode()).decode()
    path = "/api/v1/repository/alice/app/permissions/user/"
    for full, may, status in ((False, set(), 403), (True, {"pull", "push", "delete"}, 200)):
        client = client_with_settings(us, feature_superusers_full_access=full)
        assert actions(client, SUPERUSER, PASSWORD, "alice/app") == may
        answer = client.simulate_get(path, headers={"Authorization": f"Basic {pair}"})
        assert answer.status_code == status


@pytest.mark.parametrize(("private", "public"), [(True, False), (False, True)])
def test_visibility_of_a_repository_created_by_push_follows_the_bundle(
    us: Site, private: bool, public: bool
) -> None:
    client = client_with_settings(us, create_private_repo_on_push=private)
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
def test_a_push_creates_a_namespace_only_if_the_bundle_enables_it(
    us: Site, creating: bool, may: set[str]
) -> None:
    add_user(Api(us), "alice")
    client = client_with_settings(us, create_namespace_on_push=creating)
    assert actions(client, "alice", OTHER_PASSWORD, "fresh/app") == may
    assert actions(client, "alice", OTHER_PASSWORD, "alice/app") == {"pull", "push", "delete"}


def test_maximum_layer_size_applies_to_every_way_of_uploading(
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
        single_request = client.request("POST", uploads, scope, params=digest, data=b"123456789")
        for answer in (more, single_request):
            assert answer.status_code == 413
            assert answer.json()["errors"][0]["code"] == "SIZE_INVALID"
