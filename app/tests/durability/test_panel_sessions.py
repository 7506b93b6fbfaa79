"""Sessions of the panel: signing in and out, CSRF tokens, and fresh logins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .api_client import PASSWORD
from .panel_browser import PanelBrowser
from .panel_site import READER, make_panel_site
from .sites import MemorySite


def test_a_user_signs_in_opens_the_wanted_page_and_signs_out(panel_site: MemorySite) -> None:
    browser = PanelBrowser(panel_site)
    wanted = browser.get("/organization/", status=303).headers["location"]
    assert wanted == "/signin/?next=/organization/"
    answer = browser.sign_in(READER, after="/organization/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/organization/")
    assert READER in browser.text("/organization/")
    assert browser.submit("/signout/", {}, page="/") == "/"
    assert not {"session", "fresh_login"} & browser.cookies.keys()
    browser.get("/organization/", status=303)


def test_the_cookie_of_a_session_is_only_for_this_site_and_not_for_scripts(
    panel_site: MemorySite,
) -> None:
    cookie = PanelBrowser(panel_site).sign_in(READER).cookies["session"]
    assert (cookie.http_only, cookie.same_site, cookie.path) == (True, "Lax", "/")


def test_a_session_of_the_panel_is_one_of_the_api(panel_site: MemorySite) -> None:
    browser = PanelBrowser(panel_site, READER)
    assert browser.request("GET", "/api/v1/user/").json["username"] == READER


def test_a_wrong_password_shows_the_form_again_without_the_password(panel_site: MemorySite) -> None:
    browser = PanelBrowser(panel_site)
    answer = browser.sign_in(READER, "a wrong password")
    assert answer.status_code == 400
    assert "The user name or the password is wrong." in answer.text
    assert READER in answer.text
    assert "a wrong password" not in answer.text


def test_guesses_of_a_password_are_throttled_as_at_the_api(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    browser = PanelBrowser(make_panel_site(make_database(), tmp_path))
    statuses = [browser.sign_in(READER, "a guess").status_code for _ in range(6)]
    assert statuses == [400] * 5 + [429]
    answer = browser.sign_in(READER)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert "too many failed logins" in answer.text


@pytest.mark.parametrize(
    "after",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\/evil.example/",
        "/\t/evil.example/",
        "javascript:alert(1)",
        "evil.example",
        "",
    ],
)
def test_a_sign_in_never_leads_to_another_site(panel_site: MemorySite, after: str) -> None:
    answer = PanelBrowser(panel_site).sign_in(READER, after=after)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_passwords_are_refused_without_direct_login(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    changes = {"FEATURE_DIRECT_LOGIN": False}
    browser = PanelBrowser(make_panel_site(make_database(), tmp_path, changes))
    page = browser.get("/signin/").text
    assert "FEATURE_DIRECT_LOGIN" in page
    assert "<form" not in page
    assert browser.send("/signin/", {"username": READER, "password": PASSWORD}).status_code == 403


def test_a_form_needs_the_token_of_its_session(panel_site: MemorySite) -> None:
    browser, other = PanelBrowser(panel_site), PanelBrowser(panel_site)
    used = browser.token()
    assert browser.sign_in(READER).status_code == 303
    for token in (None, "", "forged", used, other.token(), browser.token("/") + "x"):
        answer = browser.send("/signout/", {}, token=token)
        assert answer.status_code == 403
        assert "session" in browser.cookies
    assert browser.send("/signout/", {}, token=browser.token("/")).status_code == 303


def test_a_sign_in_needs_the_token_of_its_page(panel_site: MemorySite) -> None:
    fields = {"username": READER, "password": PASSWORD}
    for browser in (PanelBrowser(panel_site), PanelBrowser(panel_site)):
        assert browser.send("/signin/", fields, token="forged").status_code == 403
    assert "session" not in browser.cookies


@pytest.mark.parametrize(
    "header", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_form_of_another_site_is_refused(panel_site: MemorySite, header: dict[str, str]) -> None:
    browser = PanelBrowser(panel_site, READER)
    answer = browser.send("/signout/", {}, token=browser.token("/"), headers=header)
    assert answer.status_code == 403


def test_a_form_that_is_too_large_or_not_a_form_is_refused(panel_site: MemorySite) -> None:
    browser = PanelBrowser(panel_site, READER)
    token = browser.token("/")
    assert browser.send("/signout/", {"x": "y" * 70_000}, token=token).status_code == 400
    answer = browser.request("POST", "/signout/", json={"csrf_token": token})
    assert answer.status_code == 400


def test_a_user_changes_the_password_which_ends_all_sessions(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    site = make_panel_site(make_database(), tmp_path)
    browser, other = PanelBrowser(site, READER), PanelBrowser(site, READER)
    path, new = f"/user/{READER}", "another good password"
    fields = {"current_password": PASSWORD, "password": new, "repeated": new}
    for wrong, text in (
        ({"repeated": "different"}, "differ"),
        ({"current_password": "wrong"}, "current password"),
        ({"password": "short", "repeated": "short"}, "8"),
    ):
        answer = browser.send(path, fields | wrong, token=browser.token(path))
        assert answer.status_code == 400
        assert text in answer.text
        assert new not in answer.text
    assert browser.send("/user/admin", fields, token=browser.token(path)).status_code == 403
    assert browser.submit(path, fields) == f"/signin/?next={path}"
    for one in (browser, other):
        one.get("/organization/", status=303)
        assert "Sign in" in one.text("/")
    assert other.sign_in(READER, new).status_code == 303
