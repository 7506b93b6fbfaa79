"""Names that the bundle grants privileges to cannot be claimed by other users."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from falcon import testing

from .clients import Api, add_user, client_with_settings
from .site import PASSWORD, SUPERUSER, Site

RESERVED = ["ops", "audit"]


@pytest.fixture
def client(us: Site) -> testing.TestClient:
    """A registry whose bundle lists a superuser and an auditor without accounts."""
    return client_with_settings(
        us,
        super_users=[SUPERUSER, "ops"],
        global_readonly_super_users=["audit"],
        feature_user_rename=True,
        create_namespace_on_push=True,
    )


def _basic(username: str, password: str) -> dict[str, str]:
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


@pytest.mark.parametrize("name", RESERVED)
def test_a_reserved_name_cannot_be_registered(client: testing.TestClient, name: str) -> None:
    body = {"username": name, "password": "attacker-pass"}
    refused = client.simulate_post("/api/v1/user/", json=body)
    taken = client.simulate_post("/api/v1/user/", json=body | {"username": SUPERUSER})
    assert (refused.status_code, taken.status_code) == (400, 400)
    # The response does not disclose which names are privileged, not even for a short password.
    short = body | {"password": "short"}
    assert "at least 8" in client.simulate_post("/api/v1/user/", json=short).text
    assert refused.json["error_message"] == taken.json["error_message"].replace(SUPERUSER, name)


@pytest.mark.parametrize("name", RESERVED)
def test_a_user_cannot_be_renamed_to_a_reserved_name(
    us: Site, client: testing.TestClient, name: str
) -> None:
    add_user(Api(us), "mallory")
    headers = _basic("mallory", "another password")
    answer = client.simulate_put("/api/v1/user/", json={"username": name}, headers=headers)
    assert answer.status_code == 400
    assert client.simulate_get("/api/v1/user/", headers=headers).json["username"] == "mallory"


@pytest.mark.parametrize("name", RESERVED)
def test_an_organization_cannot_take_a_reserved_name(
    us: Site, client: testing.TestClient, name: str
) -> None:
    add_user(Api(us), "mallory")
    headers = _basic("mallory", "another password")
    answer = client.simulate_post("/api/v1/organization/", json={"name": name}, headers=headers)
    assert answer.status_code == 400
    assert client.simulate_get(f"/api/v1/organization/{name}", headers=headers).status_code == 404


@pytest.mark.parametrize("name", RESERVED)
def test_a_push_does_not_create_a_reserved_namespace(
    us: Site, client: testing.TestClient, name: str
) -> None:
    add_user(Api(us), "mallory")
    token = client.simulate_get(
        "/v2/auth",
        params={"scope": f"repository:{name}/app:pull,push"},
        headers=_basic("mallory", "another password"),
    ).json["token"]
    headers = {"Authorization": f"Bearer {token}"}
    answer = client.simulate_post(f"/v2/{name}/app/blobs/uploads/", headers=headers)
    assert answer.status_code in {401, 403}
    assert not us.services.database.read('SELECT 1 FROM "user" WHERE username = %s', [name])


@pytest.mark.parametrize("name", RESERVED)
def test_a_superuser_creates_the_account_of_a_reserved_name(
    client: testing.TestClient, name: str
) -> None:
    headers = _basic(SUPERUSER, PASSWORD)
    body: dict[str, Any] = {"username": name, "password": "chosen by a superuser"}
    answer = client.simulate_post("/api/v1/superuser/users/", json=body, headers=headers)
    assert answer.status_code == 200
    mine = client.simulate_get("/api/v1/user/", headers=_basic(name, "chosen by a superuser"))
    assert (mine.status_code, mine.json["super_user"]) == (200, name == "ops")
