"""App-specific tokens can pull and push, and OAuth tokens cannot take over an account."""

from __future__ import annotations

import pytest

from .visitors import PASSWORD, Visitor, app_token, create_user, oauth_token, superuser

NEW_PASSWORD = "another password of the tests"
EVERYTHING = "repo:read repo:write repo:admin repo:create user:read user:admin org:admin super:user"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/user/", None),
        ("GET", "/api/v1/superuser/users/", None),
        ("PUT", "/api/v1/user/", {"password": NEW_PASSWORD}),
        ("POST", "/api/v1/user/apptoken", {"title": "another"}),
        ("PUT", "/api/v1/user/robots/mine", {}),
        ("POST", "/api/v1/organization/", {"name": "corp"}),
        ("GET", "/api/v1/repository?public=true", None),
        (
            "POST",
            "/oauth/authorizeapp",
            {"client_id": "x", "redirect_uri": "https://evil.example/", "scope": EVERYTHING},
        ),
    ],
)
def test_an_app_token_is_refused_by_the_api(
    visitor: Visitor, method: str, path: str, body: dict[str, str] | None
) -> None:
    # A new user, as the request could succeed and change the password.
    bob = create_user(visitor.image), PASSWORD
    owner = superuser(visitor.image) if "superuser" in path else bob
    answer = visitor.send(method, path, app_token(visitor, owner), json=body)
    assert answer.status_code == 403
    assert "app-specific token is for pulling and pushing" in answer.json()["error_message"]


def test_an_app_token_pulls_and_pushes(visitor: Visitor) -> None:
    bob = create_user(visitor.image), PASSWORD
    assert "push" in visitor.actions(app_token(visitor, bob), f"{bob[0]}/app")


def test_an_oauth_token_does_not_change_the_password(visitor: Visitor) -> None:
    bob = create_user(visitor.image)
    token = oauth_token(visitor, bob, "user:admin")
    for guess in ({}, {"current_password": "a wrong password"}):
        body = {"password": NEW_PASSWORD, **guess}
        answer = visitor.send("PUT", "/api/v1/user/", token, json=body)
        assert (answer.status_code, answer.json()["error_type"]) == (401, "fresh_login_required")
    assert visitor.registry_token((bob, PASSWORD)).status_code == 200
    body = {"password": NEW_PASSWORD, "current_password": PASSWORD}
    assert visitor.request("PUT", "/api/v1/user/", token, json=body) == 200
    assert visitor.registry_token((bob, NEW_PASSWORD)).status_code == 200


def test_a_new_password_revokes_sessions_and_tokens(visitor: Visitor) -> None:
    bob = create_user(visitor.image)
    session = visitor.sign_in(bob)
    app, oauth = app_token(visitor, (bob, PASSWORD)), oauth_token(visitor, bob, "user:read")
    assert visitor.registry_token(app).status_code == 200
    body = {"password": NEW_PASSWORD}
    assert visitor.request("PUT", "/api/v1/user/", (bob, PASSWORD), json=body) == 200
    assert visitor.registry_token(app).status_code == 401
    assert visitor.request("GET", "/api/v1/user/", oauth) == 401
    assert visitor.request("GET", "/api/v1/user/", session=session) == 401


def test_a_user_who_is_enabled_again_has_no_tokens(visitor: Visitor) -> None:
    bob = create_user(visitor.image)
    app = app_token(visitor, (bob, PASSWORD))
    path = f"/api/v1/superuser/users/{bob}"
    for enabled in (False, True):
        admin, body = superuser(visitor.image), {"enabled": enabled}
        assert visitor.request("PUT", path, admin, json=body) == 200
        assert visitor.registry_token(app).status_code == 401
    assert visitor.registry_token((bob, PASSWORD)).status_code == 200
