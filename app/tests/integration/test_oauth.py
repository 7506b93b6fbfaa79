"""API tokens for programs: OAuth applications, sign-in, and the command line."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from .clients import LOCAL, Api, add_user, signed_in
from .site import SUPERUSER, Site


@pytest.fixture
def api(us: Site) -> Api:
    found = Api(us)
    found.call("POST", "organization/", {"name": "acme"}, 201)
    return found


def authorize(
    site: Site, session: requests.Session, client_id: str, **changes: str
) -> requests.Response:
    form = {
        "client_id": client_id,
        "redirect_uri": f"{site.url}{LOCAL}",
        "scope": "repo:read org:admin",
        "response_type": "token",
        "_csrf_token": str(session.headers.get("X-CSRF-Token", "")),
        **changes,
    }
    return session.post(f"{site.url}/oauth/authorizeapp", data=form, allow_redirects=False)


def token_of(answer: requests.Response) -> str:
    assert answer.status_code == 302, answer.text
    return parse_qs(urlsplit(answer.headers["Location"]).fragment)["access_token"][0]


def status_with_token(site: Site, token: str, path: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{site.url}/api/v1/{path}", headers=headers).status_code


def test_an_application_can_be_created_changed_and_deleted(api: Api) -> None:
    base = "organization/acme/applications"
    made = api.call("POST", base, {"name": "deploy", "description": "it deploys"})
    assert (len(made["client_id"]), len(made["client_secret"])) == (20, 40)
    one = f"{base}/{made['client_id']}"
    changed = api.call("PUT", one, {"name": "deployer", "redirect_uri": "https://example.com/x"})
    assert (changed["name"], changed["description"]) == ("deployer", "it deploys")
    reset = api.call("POST", f"{one}/resetclientsecret")
    assert reset["client_secret"] != made["client_secret"]
    assert api.call("GET", base)["applications"] == [reset]
    shown = Api(api.site, None).call("GET", f"app/{made['client_id']}")
    assert (shown["name"], "client_secret" in shown) == ("deployer", False)
    kept = api.site.services.database.read("SELECT client_secret FROM oauthapplication")[0][0]
    assert reset["client_secret"] not in kept
    add_user(api, "alice").call("GET", one, status=403)
    api.call("DELETE", one, status=204)
    api.call("GET", one, status=404)


def test_an_application_gets_tokens_of_signed_in_users_until_it_is_deleted(api: Api) -> None:
    base = "organization/acme/applications"
    client_id = api.call("POST", base, {"name": "deploy"})["client_id"]
    session = signed_in(api.site)
    token = token_of(authorize(api.site, session, client_id))
    assert status_with_token(api.site, token, base) == 200
    # It is limited to its scopes.
    assert status_with_token(api.site, token, "superuser/users/") == 403
    given = api.call("GET", "user/authorizations")["authorizations"]
    assert [one["application"]["clientId"] for one in given] == [client_id]
    api.call("DELETE", f"{base}/{client_id}", status=204)
    assert status_with_token(api.site, token, base) == 401


def test_an_issued_token_can_be_revoked(api: Api) -> None:
    client_id = api.call("POST", "organization/acme/applications", {"name": "x"})["client_id"]
    token = token_of(authorize(api.site, signed_in(api.site), client_id))
    (given,) = api.call("GET", "user/authorizations")["authorizations"]
    api.call("DELETE", f"user/authorizations/{given['uuid']}", status=204)
    assert status_with_token(api.site, token, "organization/acme/applications") == 401


def test_following_a_link_issues_no_token(api: Api) -> None:
    client_id = api.call("POST", "organization/acme/applications", {"name": "x"})["client_id"]
    session = signed_in(api.site)
    asked = {
        "client_id": client_id,
        "redirect_uri": f"{api.site.url}{LOCAL}",
        "scope": "repo:read",
        "response_type": "token",
    }
    url = f"{api.site.url}/oauth/authorize"
    assert session.get(url, params=asked, allow_redirects=False).status_code == 403
    authorize(api.site, session, client_id)
    # Not even to an application that the user authorized before.
    answer = session.get(url, params=asked, allow_redirects=False)
    assert (answer.status_code, "Location" in answer.headers) == (403, False)
    wrong = {**asked, "redirect_uri": "https://evil.example/"}
    assert session.get(url, params=wrong, allow_redirects=False).status_code == 400


@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "https://app.example/backwards"},
        {"redirect_uri": "https://app.example.evil.example/back"},
        {"scope": "everything"},
        {"response_type": "code"},
    ],
)
def test_a_token_is_sent_only_to_a_registered_redirect_uri(
    api: Api, change: dict[str, str]
) -> None:
    registered = {"name": "x", "redirect_uri": "https://app.example/back"}
    client_id = api.call("POST", "organization/acme/applications", registered)["client_id"]
    session = signed_in(api.site)
    good = authorize(api.site, session, client_id, redirect_uri="https://app.example/back")
    assert token_of(good)
    assert authorize(api.site, session, client_id, **change).status_code == 400


def test_a_session_needs_its_csrf_token_to_change_anything(api: Api) -> None:
    session = signed_in(api.site)
    assert session.get(f"{api.site.url}/api/v1/user/").json()["username"] == SUPERUSER
    url = f"{api.site.url}/api/v1/organization/"
    assert session.post(url, json={"name": "two"}).status_code == 201
    session.headers["X-CSRF-Token"] = "guess"
    refused = session.post(url, json={"name": "three"})
    assert (refused.status_code, refused.json()["error_type"]) == (403, "invalid_csrf_token")
    client_id = api.call("POST", "organization/acme/applications", {"name": "x"})["client_id"]
    assert authorize(api.site, session, client_id).status_code == 403


def test_signing_in_checks_the_password_and_is_throttled_like_other_logins(api: Api) -> None:
    session = requests.Session()
    session.trust_env = False
    url = f"{api.site.url}/api/v1/signin"
    body = {"username": SUPERUSER, "password": "guess"}
    assert session.post(url, json=body).json()["error_type"] == "invalid_csrf_token"
    token = session.get(f"{api.site.url}/csrf_token").json()["csrf_token"]
    headers = {"X-CSRF-Token": token}
    statuses = [session.post(url, json=body, headers=headers).status_code for _ in range(6)]
    assert statuses == [403] * 5 + [429]


def test_signing_out_and_a_new_password_end_a_session(api: Api) -> None:
    add_user(api, "alice")
    url = f"{api.site.url}/api/v1"
    session = signed_in(api.site, "alice", "another password")
    assert session.get(f"{url}/user/").status_code == 200
    assert session.post(f"{url}/signout").status_code == 200
    assert session.get(f"{url}/user/").status_code == 401
    session = signed_in(api.site, "alice", "another password")
    api.call("PUT", "superuser/users/alice", {"password": "yet another one"})
    assert session.get(f"{url}/user/").status_code == 401


def test_an_operator_creates_a_token_on_the_command_line(us: Site) -> None:
    made = us.command("token", "create", SUPERUSER, "--scope", "user:read", "--days", "1")
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert status_with_token(us, token, "user/") == 200
    assert status_with_token(us, token, "superuser/users/") == 403
    for words in (("nobody",), (SUPERUSER, "--scope", "everything")):
        refused = us.command("token", "create", *words)
        assert refused.returncode != 0
        assert refused.stdout == ""


def test_a_token_is_created_listed_and_revoked_in_the_settings_of_an_application(api: Api) -> None:
    client_id = api.call("POST", "organization/acme/applications", {"name": "x"})["client_id"]
    base = f"organization/acme/applications/{client_id}/tokens"
    made = api.call("POST", base, {"name": " build ", "scope": "repo:read,user:read"})
    assert (made["name"], made["scope"], made["created_by"]) == (
        "build",
        "repo:read user:read",
        SUPERUSER,
    )
    assert status_with_token(api.site, made["token"], "user/") == 200
    assert status_with_token(api.site, made["token"], base) == 403
    (listed,) = api.call("GET", base)["tokens"]
    assert (listed["uuid"], "token" in listed) == (made["uuid"], False)
    for wrong in ({"scope": "repo:read"}, {"name": "x", "scope": "everything"}):
        api.call("POST", base, wrong, 400)
    add_user(api, "alice").call("GET", base, status=403)
    api.call("DELETE", f"{base}/{made['uuid']}", status=204)
    api.call("DELETE", f"{base}/{made['uuid']}", status=404)
    assert status_with_token(api.site, made["token"], "user/") == 401


def test_a_token_cannot_create_a_token_with_more_scopes(api: Api) -> None:
    client_id = api.call("POST", "organization/acme/applications", {"name": "x"})["client_id"]
    base = f"organization/acme/applications/{client_id}/tokens"
    narrow = api.call("POST", base, {"name": "narrow", "scope": "org:admin"})["token"]
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {narrow}"
        url = f"{api.site.url}/api/v1/{base}"
        for scope, status in (("org:admin", 200), ("org:admin super:user", 403)):
            answer = session.post(url, json={"name": "more", "scope": scope})
            assert (scope, answer.status_code) == (scope, status)


def assign(site: Site, session: requests.Session, client_id: str, username: str) -> int:
    query = {
        "client_id": client_id,
        "username": username,
        "redirect_uri": f"{site.url}{LOCAL}",
        "scope": "repo:read",
        "response_type": "token",
        "format": "json",
    }
    return session.post(f"{site.url}/oauth/authorize/assignuser", params=query).status_code


def test_an_assigned_user_issues_the_token_once(api: Api) -> None:
    client_id = api.call("POST", "organization/acme/applications", {"name": "x"})["client_id"]
    alice = add_user(api, "alice")
    session = signed_in(api.site)
    assert assign(api.site, session, client_id, "alice") == 200
    assert assign(api.site, session, client_id, "nobody") == 404
    assert assign(api.site, session, "nothing", "alice") == 404
    own = signed_in(api.site, "alice", "another password")
    assert assign(api.site, own, client_id, SUPERUSER) == 403
    (asked,) = alice.call("GET", "user/assignedauthorizations")["authorizations"]
    assert asked["application"]["clientId"] == client_id
    uuid = asked["uuid"]
    # Not with other scopes, and not by another user.
    more = authorize(api.site, own, client_id, assignment_uuid=uuid)
    other = authorize(api.site, session, client_id, assignment_uuid=uuid, scope="repo:read")
    assert (more.status_code, other.status_code) == (404, 404)
    token = token_of(authorize(api.site, own, client_id, assignment_uuid=uuid, scope="repo:read"))
    assert status_with_token(api.site, token, "repository?public=true") == 200
    assert alice.call("GET", "user/assignedauthorizations")["authorizations"] == []
    again = authorize(api.site, own, client_id, assignment_uuid=uuid, scope="repo:read")
    assert again.status_code == 404


def test_an_assigned_user_can_decline(api: Api) -> None:
    client_id = api.call("POST", "organization/acme/applications", {"name": "x"})["client_id"]
    alice = add_user(api, "alice")
    assert assign(api.site, signed_in(api.site), client_id, "alice") == 200
    (asked,) = alice.call("GET", "user/assignedauthorizations")["authorizations"]
    path = f"user/assignedauthorizations/{asked['uuid']}"
    api.call("DELETE", path, status=404)
    alice.call("DELETE", path, status=204)
    assert alice.call("GET", "user/assignedauthorizations")["authorizations"] == []
