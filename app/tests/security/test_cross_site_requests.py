"""Requests that a page of another site makes a browser send change nothing (CSRF)."""

from __future__ import annotations

import json

import pytest
import requests

from ..image.running import RunningImage
from .accounts import Account, new_account, superuser, unique

EVIL = "https://evil.example"
# Content types that an HTML form, or a request without a CORS preflight, can have.
SIMPLE_TYPES = (
    "application/x-www-form-urlencoded",
    "text/plain",
    "text/plain; charset=utf-8",
    "multipart/form-data; boundary=x",
    None,
)


@pytest.fixture(scope="module")
def admin(image: RunningImage) -> Account:
    return superuser(image)


def _foreign_headers(image: RunningImage) -> list[dict[str, str]]:
    return [
        {"Origin": EVIL},
        {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
        {"Origin": f"{image.tls_url}.evil.example"},
        {"Origin": f"{image.tls_url.partition(':')[0]}://evil.example@{image.tls_url[8:]}"},
        {"Origin": image.tls_url.replace("https", "http")},
        {"Origin": "https://127.0.0.1:1"},
        {"Origin": "https://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ]


def _exists(admin: Account, organization: str) -> bool:
    answer = admin.request("GET", f"/api/v1/organization/{organization}")
    assert answer.status_code in {200, 404}, answer.text
    return answer.status_code == 200


def test_a_password_sent_from_a_foreign_page_changes_nothing(
    image: RunningImage, admin: Account
) -> None:
    for headers in _foreign_headers(image):
        name = unique("org")
        answer = admin.request(
            "POST", "/api/v1/organization/", json={"name": name}, headers=headers
        )
        assert (answer.status_code, _exists(admin, name)) == (403, False), headers
        assert answer.json()["error_type"] == "cross_origin_request"


def test_a_session_is_refused_from_a_foreign_page_despite_its_csrf_token(
    image: RunningImage, admin: Account
) -> None:
    session = admin.sign_in()
    for headers in _foreign_headers(image):
        name = unique("org")
        answer = session.post(
            f"{image.tls_url}/api/v1/organization/", json={"name": name}, headers=headers
        )
        assert (answer.status_code, _exists(admin, name)) == (403, False), headers


@pytest.mark.parametrize("media_type", SIMPLE_TYPES)
def test_a_body_that_a_form_can_send_changes_nothing(
    admin: Account, media_type: str | None
) -> None:
    name = unique("org")
    headers = {} if media_type is None else {"Content-Type": media_type}
    body = json.dumps({"name": name}).encode()
    answer = admin.request("POST", "/api/v1/organization/", data=body, headers=headers)
    assert (answer.status_code, _exists(admin, name)) == (415, False)
    form = f"name={name}".encode()
    answer = admin.request("POST", "/api/v1/organization/", data=form, headers=headers)
    assert (answer.status_code, _exists(admin, name)) == (415, False)


def test_a_form_sent_to_an_operation_without_a_body_changes_nothing(admin: Account) -> None:
    name = admin.create_organization()
    client_id = admin.create_application(name)
    path = f"/api/v1/organization/{name}/applications/{client_id}"
    secret = admin.request("GET", path).json()["client_secret"]
    for media_type in SIMPLE_TYPES[:-1]:
        headers = {"Content-Type": str(media_type)}
        answer = admin.request("POST", f"{path}/resetclientsecret", headers=headers)
        assert answer.status_code == 415
    assert admin.request("GET", path).json()["client_secret"] == secret


def test_a_foreign_page_creates_no_account(image: RunningImage) -> None:
    account = Account(image, unique("user"), "correct horse battery staple")
    body = {"username": account.username, "password": account.password}
    url = f"{image.tls_url}/api/v1/user/"
    plain = {"Content-Type": "text/plain"}
    for headers in ({"Origin": EVIL}, {"Sec-Fetch-Site": "cross-site"}, plain):
        kind = {"Content-Type": "application/json", **headers}
        answer = image.session().post(url, data=json.dumps(body), headers=kind)
        assert answer.status_code in {403, 415}, headers
    assert account.request("GET", "/api/v1/user/").status_code == 401


def test_a_foreign_page_cannot_sign_in_or_out(image: RunningImage) -> None:
    account = new_account(image)
    session = image.session()
    token = session.get(f"{image.tls_url}/csrf_token").json()["csrf_token"]
    answer = session.post(
        f"{image.tls_url}/api/v1/signin",
        json={"username": account.username, "password": account.password},
        headers={"X-CSRF-Token": token, "Origin": EVIL},
    )
    assert answer.status_code == 403
    session = account.sign_in()
    # As a browser sends it: without the cookie, which is SameSite.
    for headers in ({"Origin": EVIL}, {"Content-Type": "application/x-www-form-urlencoded"}):
        answer = image.session().post(f"{image.tls_url}/api/v1/signout", headers=headers)
        assert (answer.status_code, "Set-Cookie" in answer.headers) in {(403, False), (415, False)}
    assert session.get(f"{image.tls_url}/api/v1/user/").status_code == 200


def test_requests_of_the_registrys_own_pages_and_of_scripts_are_accepted(
    image: RunningImage, admin: Account
) -> None:
    session = admin.sign_in()
    own: list[dict[str, str]] = [
        {},
        {"Origin": image.tls_url, "Sec-Fetch-Site": "same-origin"},
        {"Origin": image.tls_url},
        {"Origin": "https://registry.test"},
    ]
    for headers in own:
        for send in (_with_session(image, session), admin.request):
            body = {"name": unique("org")}
            answer = send("POST", "/api/v1/organization/", json=body, headers=headers)
            assert answer.status_code == 201, (headers, answer.text)


def _with_session(image: RunningImage, session: requests.Session) -> object:
    def send(method: str, path: str, **arguments: object) -> requests.Response:
        return session.request(method, f"{image.tls_url}{path}", **arguments)  # type: ignore[arg-type]

    return send


def test_a_bearer_token_works_from_every_origin(image: RunningImage, admin: Account) -> None:
    # Browsers do not attach it by themselves.
    headers = {
        "Authorization": f"Bearer {admin.api_token('org:admin')}",
        "Origin": EVIL,
        "Sec-Fetch-Site": "cross-site",
    }
    body = {"name": unique("org")}
    url = f"{image.tls_url}/api/v1/organization/"
    assert image.session().post(url, json=body, headers=headers).status_code == 201


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v1/user/",
        "/api/v1/superuser/users/",
        "/api/v1/nothing",
        "/oauth/authorize?client_id=x&redirect_uri=x&scope=repo:read",
        "/oauth/nothing",
        "/v2/",
        "/v2/auth",
        "/v2/auth?scope=repository:a/b:pull",
        "/v2/_catalog",
        "/v2/admin/app/manifests/latest",
    ],
)
@pytest.mark.parametrize("credentials", [None, "Basic", "Basic %%%", "Digest x"])
def test_a_browser_is_never_asked_for_a_password(
    image: RunningImage, path: str, credentials: str | None
) -> None:
    headers = {} if credentials is None else {"Authorization": credentials}
    for method in ("GET", "POST"):
        answer = image.session().request(
            method, f"{image.tls_url}{path}", headers=headers, allow_redirects=False
        )
        assert _asks_for_no_password(answer)


def test_a_wrong_password_does_not_make_a_browser_ask_again(image: RunningImage) -> None:
    # A new user name, because failed logins count against the account.
    stranger = Account(image, unique("user"), "guess")
    for path in ("/v2/auth", "/api/v1/user/"):
        answer = stranger.request("GET", path)
        assert answer.status_code == 401
        assert _asks_for_no_password(answer)


def _asks_for_no_password(answer: requests.Response) -> bool:
    challenge = answer.headers.get("WWW-Authenticate", "Bearer").lower()
    return challenge.startswith("bearer") and "basic" not in challenge


@pytest.mark.parametrize("path", ["/api/v1/user/", "/csrf_token", "/oauth/localapp", "/api/v1/no"])
def test_no_response_of_the_api_can_be_framed_or_cached(image: RunningImage, path: str) -> None:
    answer = image.session().get(f"{image.tls_url}{path}")
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_session_cookie_is_limited_to_the_registry(image: RunningImage) -> None:
    answer = image.session().get(f"{image.tls_url}/csrf_token")
    attributes = {part.strip().lower() for part in answer.headers["Set-Cookie"].split(";")[1:]}
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= attributes
    assert not any(attribute.startswith("domain") for attribute in attributes)
