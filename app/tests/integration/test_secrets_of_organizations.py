"""Tokens of robots and secrets of applications are shown to an organization's administrators."""

from __future__ import annotations

import base64

import pytest
from falcon import testing

from .clients import Api, add_user, client_with_settings
from .site import PASSWORD, SUPERUSER, Site

ROBOT, ROBOTS = "organization/acme/robots/ci", "organization/acme/robots"


@pytest.fixture
def client(us: Site) -> testing.TestClient:
    """A registry whose superuser has access to an organization without being a member."""
    owner = add_user(Api(us), "owner")
    owner.call("POST", "organization/", {"name": "acme"}, 201)
    owner.call("PUT", ROBOT, {}, 201)
    owner.call("POST", "organization/acme/applications", {"name": "tool"})
    return client_with_settings(us, feature_superusers_full_access=True)


def _get(client: testing.TestClient, username: str, password: str, path: str) -> str:
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    answer = client.simulate_get(f"/api/v1/{path}", headers={"Authorization": f"Basic {pair}"})
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize(
    ("path", "secret"),
    [
        (ROBOT, '"token"'),
        (ROBOTS, '"token"'),
        ("organization/acme/applications", '"client_secret"'),
    ],
)
def test_a_secret_is_shown_to_administrators_and_not_to_superusers(
    client: testing.TestClient, path: str, secret: str
) -> None:
    assert secret in _get(client, "owner", "another password", path)
    assert secret not in _get(client, SUPERUSER, PASSWORD, path)
