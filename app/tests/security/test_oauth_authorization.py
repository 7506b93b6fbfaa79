"""An OAuth application gets a token only with the user's consent, at a registered address."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from ..image.running import RunningImage
from .accounts import Account, new_account, superuser

EVIL = "https://evil.example/cb"
AUTHORIZE = "/oauth/authorizeapp"


@pytest.fixture(scope="module")
def attacker(image: RunningImage) -> Account:
    return new_account(image)


@pytest.fixture(scope="module")
def victim(image: RunningImage) -> Account:
    return new_account(image)


def _form(client_id: str, **changes: str) -> dict[str, str]:
    return {
        "client_id": client_id,
        "redirect_uri": EVIL,
        "scope": "user:admin repo:admin org:admin",
        "response_type": "token",
        **changes,
    }


def _post(
    image: RunningImage, session: requests.Session, path: str, form: dict[str, str]
) -> requests.Response:
    token = session.headers.get("X-CSRF-Token")
    fields = form if token is None else {**form, "_csrf_token": str(token)}
    return session.post(f"{image.tls_url}{path}", data=fields, allow_redirects=False)


def _tokens(account: Account) -> list[object]:
    answer = account.request("GET", "/api/v1/user/authorizations")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["authorizations"])


def test_a_user_cannot_authorize_the_application_of_a_foreign_organization(
    image: RunningImage, attacker: Account, victim: Account
) -> None:
    client_id = attacker.create_application(attacker.create_organization(), EVIL)
    for target in (victim, superuser(image)):
        before = _tokens(target)
        answer = _post(image, target.sign_in(), AUTHORIZE, _form(client_id))
        assert (answer.status_code, "Location" in answer.headers) == (403, False)
        assert _tokens(target) == before


def test_a_password_authorizes_no_application(image: RunningImage, victim: Account) -> None:
    client_id = victim.create_application(victim.create_organization(), EVIL)
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    for headers in (foreign, {}):
        by_form = victim.request("POST", AUTHORIZE, data=_form(client_id), headers=headers)
        by_json = victim.request("POST", AUTHORIZE, json=_form(client_id), headers=headers)
        assert by_form.status_code in {403, 415}
        assert by_json.status_code == 403
    token = victim.api_token("user:admin", "org:admin")
    answer = image.session().post(
        f"{image.tls_url}{AUTHORIZE}",
        json=_form(client_id),
        headers={"Authorization": f"Bearer {token}"},
        allow_redirects=False,
    )
    assert answer.status_code == 403


def test_an_authorization_requires_the_csrf_token(image: RunningImage, victim: Account) -> None:
    client_id = victim.create_application(victim.create_organization(), EVIL)
    session = victim.sign_in()
    genuine = session.headers.pop("X-CSRF-Token")
    url = f"{image.tls_url}{AUTHORIZE}"
    for form in (_form(client_id), _form(client_id, _csrf_token="guess")):
        assert session.post(url, data=form, allow_redirects=False).status_code == 403
    form = _form(client_id, _csrf_token=str(genuine))
    assert session.post(url, data=form, allow_redirects=False).status_code == 302


def test_a_link_issues_no_token_even_to_an_authorized_application(
    image: RunningImage, victim: Account
) -> None:
    client_id = victim.create_application(victim.create_organization(), EVIL)
    session = victim.sign_in()
    assert _post(image, session, AUTHORIZE, _form(client_id)).status_code == 302
    before = _tokens(victim)
    for path in ("/oauth/authorize", AUTHORIZE):
        answer = session.get(
            f"{image.tls_url}{path}", params=_form(client_id), allow_redirects=False
        )
        assert answer.status_code in {403, 405}
        assert "Location" not in answer.headers
    assert _tokens(victim) == before


def test_administrators_and_assigned_users_can_authorize_an_application(
    image: RunningImage, attacker: Account, victim: Account
) -> None:
    client_id = victim.create_application(victim.create_organization(), EVIL)
    session = victim.sign_in()
    answer = _post(image, session, AUTHORIZE, _form(client_id))
    assert "access_token" in parse_qs(urlsplit(answer.headers["Location"]).fragment)
    assigned = _form(client_id, scope="repo:read", username=attacker.username)
    assert _post(image, session, "/oauth/authorize/assignuser", assigned).status_code == 200
    listed = attacker.request("GET", "/api/v1/user/assignedauthorizations").json()
    uuid = listed["authorizations"][0]["uuid"]
    other = attacker.sign_in()
    # No more scopes than assigned, at no other address, and only once.
    elsewhere = _form(client_id, scope="repo:read", redirect_uri=f"{EVIL}/elsewhere")
    for form, status in (
        ({**elsewhere, "assignment_uuid": uuid}, 404),
        (_form(client_id, assignment_uuid=uuid), 404),
        (_form(client_id, scope="repo:read"), 403),
        (_form(client_id, scope="repo:read", assignment_uuid=uuid), 302),
        (_form(client_id, scope="repo:read", assignment_uuid=uuid), 404),
    ):
        assert _post(image, other, AUTHORIZE, form).status_code == status


@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("https://app.example/cb", "https://app.example/cb/../../redirect"),
        ("https://app.example/cb", "https://app.example/cb/%2e%2e/redirect"),
        ("https://app.example/cb", "https://app.example/cb/..\\redirect"),
        ("https://app.example/cb", "https://app.example/cb/\t../redirect"),
        ("https://app.example/cb", "https://app.example/cb/x\r\nSet-Cookie: session=x"),
        ("https://app.example/cb", "https://app.example/cb/#fragment"),
        ("https://app.example", "https://app.example@evil.example/"),
        ("https://app.example", "https://app.example.evil.example/"),
        ("https://", "https://evil.example/"),
        ("/", "//evil.example/"),
        ("", EVIL),
    ],
)
def test_a_token_is_sent_below_the_registered_address_only(
    image: RunningImage, victim: Account, registered: str, asked: str
) -> None:
    client_id = victim.create_application(victim.create_organization(), registered)
    answer = _post(image, victim.sign_in(), AUTHORIZE, _form(client_id, redirect_uri=asked))
    assert (answer.status_code, "Location" in answer.headers) == (400, False)


def test_a_token_without_org_admin_cannot_assign_an_application(
    image: RunningImage, attacker: Account, victim: Account
) -> None:
    client_id = victim.create_application(victim.create_organization(), EVIL)
    form = _form(client_id, scope="repo:admin", username=attacker.username)
    for scope, status in (("user:read", 403), ("repo:admin", 403), ("org:admin", 200)):
        answer = image.session().post(
            f"{image.tls_url}/oauth/authorize/assignuser",
            json=form,
            headers={"Authorization": f"Bearer {victim.api_token(scope)}"},
        )
        assert answer.status_code == status, scope
