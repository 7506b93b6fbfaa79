"""App-specific tokens can pull and push, but cannot change the account."""

from __future__ import annotations

import pytest
import requests

from .clients import Api, add_user
from .site import PASSWORD, SUPERUSER, Site

CALLS = [
    ("GET", "user/", None),
    ("GET", "repository?public=true", None),
    ("PUT", "user/", {"password": "changed by the token"}),
    ("POST", "user/apptoken", {"title": "another"}),
    ("GET", "superuser/users/", None),
]


def _app_token(api: Api) -> str:
    made = api.call("POST", "user/apptoken", {"title": "a program"})
    return str(made["token"]["token_code"])


def _token_status(site: Site, username: str, password: str) -> int:
    scope = {"scope": "repository:bob/app:pull,push"}
    return requests.get(f"{site.url}/v2/auth", params=scope, auth=(username, password)).status_code


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
def test_an_app_token_is_refused_by_the_api(
    api: Api, method: str, path: str, body: dict[str, str] | None
) -> None:
    Api(api.site, "$app", _app_token(api)).call(method, path, body, 403)


def test_an_app_token_pulls_and_pushes(api: Api) -> None:
    bob = add_user(api, "bob")
    code = _app_token(bob)
    assert _token_status(api.site, "$app", code) == 200


def test_a_superusers_app_token_does_not_list_all_repositories(api: Api) -> None:
    bob = add_user(api, "bob")
    bob.call("POST", "repository", {"namespace": "bob", "repository": "secret",
                                    "visibility": "private", "description": ""}, 201)  # fmt: skip
    answer = requests.get(
        f"{api.site.url}/v2/auth",
        params={"scope": "registry:catalog:*"},
        auth=("$app", _app_token(api)),
    )
    token = {"Authorization": f"Bearer {answer.json()['token']}"}
    listed = requests.get(f"{api.site.url}/v2/_catalog", headers=token)
    assert "bob/secret" not in listed.text


def test_a_new_password_revokes_app_tokens(api: Api) -> None:
    bob = add_user(api, "bob")
    code = _app_token(bob)
    bob.call("PUT", "user/", {"password": "a new password"})
    assert _token_status(api.site, "$app", code) == 401


def test_disabling_a_user_revokes_app_tokens(api: Api) -> None:
    code = _app_token(add_user(api, "bob"))
    for enabled in (False, True):
        api.call("PUT", "superuser/users/bob", {"enabled": enabled})
        assert _token_status(api.site, "$app", code) == 401


def test_changing_the_password_with_an_api_token_requires_the_current_password(api: Api) -> None:
    add_user(api, "bob")
    made = api.site.command("token", "create", "bob", "--scope", "user:admin")
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {made.stdout.strip()}"
    url, body = f"{api.site.url}/api/v1/user/", {"password": "taken over"}
    for current in ({}, {"current_password": "a guess"}):
        refused = session.put(url, json=body | current)
        assert refused.status_code == 401
        assert refused.json()["error_type"] == "fresh_login_required"
    assert session.put(url, json=body | {"current_password": "another password"}).ok
    assert _token_status(api.site, "bob", "taken over") == 200


def test_changing_the_password_in_a_session_requires_the_current_password(api: Api) -> None:
    add_user(api, "bob")
    session = requests.Session()
    url = api.site.url
    csrf = {"X-CSRF-Token": session.get(f"{url}/csrf_token").json()["csrf_token"]}
    body = {"username": "bob", "password": "another password"}
    assert session.post(f"{url}/api/v1/signin", json=body, headers=csrf).ok
    csrf = {"X-CSRF-Token": session.get(f"{url}/csrf_token").json()["csrf_token"]}
    change = {"password": "taken over"}
    assert session.put(f"{url}/api/v1/user/", json=change, headers=csrf).status_code == 401
    change["current_password"] = "another password"
    assert session.put(f"{url}/api/v1/user/", json=change, headers=csrf).ok


def test_changing_the_password_is_allowed_with_basic_authentication(api: Api) -> None:
    bob = add_user(api, "bob")
    bob.call("PUT", "user/", {"password": "a new password"})
    assert _token_status(api.site, "bob", "a new password") == 200
    assert _token_status(api.site, SUPERUSER, PASSWORD) == 200


def test_a_missing_current_password_does_not_count_as_a_failed_login(api: Api) -> None:
    add_user(api, "bob")
    token = api.site.command("token", "create", "bob", "--scope", "user:admin").stdout.strip()
    headers, url = {"Authorization": f"Bearer {token}"}, f"{api.site.url}/api/v1/user/"
    for _ in range(8):
        answer = requests.put(url, json={"password": "taken over"}, headers=headers)
        assert answer.status_code == 401
    assert _token_status(api.site, "bob", "another password") == 200


def test_a_superuser_needs_the_current_password_to_change_it(api: Api) -> None:
    api.call("PUT", f"superuser/users/{SUPERUSER}", {"password": "taken over"}, 400)
    assert _token_status(api.site, SUPERUSER, PASSWORD) == 200
