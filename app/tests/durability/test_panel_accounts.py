"""Operators list users and organizations in the panel, create users, and change both."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from atoll.auth import users

from .api_client import PASSWORD, ApiClient
from .panel_browser import PanelBrowser, statements
from .panel_forms import (
    HOSTILE,
    Browsers,
    check_escaped,
    check_forged_forms,
    check_refused_users,
    private_repository,
)
from .panel_site import AUDITOR, READER, STRANGER
from .sites import SUPERUSER, MemorySite

USERS, ORGANIZATIONS = "/superuser/users", "/superuser/organizations"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def browsers(panel_site: MemorySite) -> Browsers:
    private_repository(panel_site, "accounts")
    return Browsers(panel_site)


@pytest.fixture
def superuser(browsers: Browsers) -> PanelBrowser:
    return browsers[SUPERUSER]


@pytest.fixture
def user(panel_site: MemorySite) -> str:
    """A new user."""
    name = f"person{next(_numbers)}"
    users.create_user(panel_site.database, name, f"{name}@example.com", PASSWORD)
    return name


@pytest.fixture
def organization(panel_site: MemorySite, user: str) -> str:
    """A new organization, of the new user."""
    name = f"group{next(_numbers)}"
    users.create_organization(panel_site.database, name, user)
    return name


def account(site: MemorySite, name: str) -> tuple[Any, ...] | None:
    rows = site.database.read(
        'SELECT email, enabled, organization FROM "user" WHERE username = %s', [name]
    )
    return tuple(rows[0]) if rows else None


def confirmed(name: str) -> dict[str, str]:
    return {"confirmation": name, "current_password": PASSWORD}


def test_a_user_is_created_with_a_password_that_is_shown_once(
    panel_site: MemorySite, superuser: PanelBrowser
) -> None:
    name = f"person{next(_numbers)}"
    fields = {"username": name, "email": "", "password": ""}
    token = superuser.token(USERS)
    page = superuser.send(USERS, fields, token=token)
    assert page.status_code == 200
    found = re.search(r'data-copy="([^"]+)"', page.text)
    assert found is not None
    assert found[1] not in superuser.get(USERS).text
    assert PanelBrowser(panel_site).sign_in(name, found[1]).status_code == 303
    again = superuser.send(USERS, {**fields, "password": "another one"}, token=token)
    assert again.status_code == 400
    assert "taken already" in again.text
    assert f'value="{name}"' in again.text
    assert "another one" not in again.text


def test_accounts_are_listed_in_pages_and_by_a_part_of_their_names(
    panel_site: MemorySite, superuser: PanelBrowser
) -> None:
    for kind, here in (("false", USERS), ("true", ORGANIZATIONS)):
        panel_site.database.run(
            'INSERT INTO "user" (username, organization)'
            f" SELECT 'many-{kind}-' || number, {kind} FROM generate_series(100, 219) AS number"
            " RETURNING id"
        )
        page, seen = f"{here}?contains=many-{kind}", 0
        for rows in (50, 50, 20):
            source = superuser.text(page)
            assert source.count('<th scope="row">') == rows
            seen += rows
            following = re.search(r'href="([^"]+)" rel="next"', source)
            page = following[1] if following else ""
        assert (seen, page) == (120, "")
        assert "No" in superuser.text(f"{here}?contains=many%25100")
        superuser.get(f"{here}?contains={'x' * 256}", status=400)


def test_hostile_addresses_are_escaped(
    panel_site: MemorySite, superuser: PanelBrowser, user: str, organization: str
) -> None:
    for number, (here, name) in enumerate(((USERS, user), (ORGANIZATIONS, organization))):
        address = f"{number}{HOSTILE}"
        assert superuser.submit(f"{here}/{name}/email", {"email": address}) == f"{here}/{name}"
        changed = account(panel_site, name)
        assert changed is not None
        assert changed[0] == address
        for page in (f"{here}?contains={name}", f"{here}/{name}", f"{here}/{name}/email"):
            check_escaped(superuser, page)


def test_a_user_is_changed_disabled_and_enabled(
    panel_site: MemorySite, superuser: PanelBrowser, user: str
) -> None:
    here = f"{USERS}/{user}"
    assert superuser.submit(f"{here}/email", {"email": f"{user}@example.org"}) == here
    assert superuser.submit(f"{here}/disable", confirmed(user)) == here
    assert account(panel_site, user) == (f"{user}@example.org", False, False)
    assert "disabled" in superuser.text(here)
    assert superuser.submit(f"{here}/enable", {}) == here
    assert account(panel_site, user) == (f"{user}@example.org", True, False)
    new = "another good password"
    fields = {"password": new, "repeated": "different", "current_password": PASSWORD}
    refused = superuser.send(f"{here}/password", fields, token=superuser.token(here + "/password"))
    assert refused.status_code == 400
    assert new not in refused.text
    assert superuser.submit(f"{here}/password", {**fields, "repeated": new}) == here
    assert PanelBrowser(panel_site).sign_in(user, new).status_code == 303


def test_the_ownership_of_a_namespace_is_taken(
    panel_site: MemorySite, superuser: PanelBrowser, user: str, organization: str
) -> None:
    for here, name in ((USERS, user), (ORGANIZATIONS, organization)):
        page = superuser.submit(f"{here}/{name}/ownership", confirmed(name))
        assert page == f"{ORGANIZATIONS}/{name}"
        assert name in superuser.text(page)
        found = ApiClient(panel_site).call("GET", f"organization/{name}")
        assert found["is_admin"] is True


def test_an_organization_is_renamed_and_deleted(
    panel_site: MemorySite, superuser: PanelBrowser, organization: str
) -> None:
    here, new = f"{ORGANIZATIONS}/{organization}", f"{organization}-new"
    assert superuser.submit(f"{here}/email", {"email": f"{new}@example.org"}) == here
    fields = {"name": new, **confirmed(organization)}
    taken = superuser.send(f"{here}/name", {**fields, "name": READER}, token=superuser.token("/"))
    assert taken.status_code == 400
    assert "taken already" in taken.text
    assert superuser.submit(f"{here}/name", fields) == f"{ORGANIZATIONS}/{new}"
    assert account(panel_site, new) == (f"{new}@example.org", True, True)
    assert superuser.submit(f"{ORGANIZATIONS}/{new}/delete", confirmed(new)) == ORGANIZATIONS
    superuser.get(f"{ORGANIZATIONS}/{new}", status=404)


def test_a_user_is_deleted(panel_site: MemorySite, superuser: PanelBrowser, user: str) -> None:
    assert superuser.submit(f"{USERS}/{user}/delete", confirmed(user)) == USERS
    assert account(panel_site, user) is None
    superuser.get(f"{USERS}/{user}", status=404)
    superuser.get(f"{USERS}/{READER}/rename", status=404)


def test_a_dangerous_change_needs_the_name_and_a_fresh_login(
    panel_site: MemorySite, user: str, organization: str
) -> None:
    browser = PanelBrowser(panel_site, SUPERUSER)
    del browser.cookies["fresh_login"]
    forms = {
        f"{USERS}/{user}": ("disable", "ownership", "delete"),
        f"{ORGANIZATIONS}/{organization}": ("name", "ownership", "delete"),
    }
    for here, changes in forms.items():
        name = here.rpartition("/")[2]
        before = account(panel_site, name)
        for change in changes:
            token = browser.token(f"{here}/{change}")
            for fields, text in (
                ({"confirmation": READER, "current_password": PASSWORD}, f"Type {name}"),
                ({"confirmation": name}, "Enter your current password"),
            ):
                answer = browser.send(f"{here}/{change}", {"name": "x1", **fields}, token=token)
                assert (answer.status_code, text in answer.text) == (400, True), (change, fields)
        assert account(panel_site, name) == before


def test_superusers_are_not_changed_here(superuser: PanelBrowser) -> None:
    here = f"{USERS}/{SUPERUSER}"
    assert "/delete" not in superuser.text(here)
    token = superuser.token("/")
    for change, text in (
        ("delete", "cannot be deleted"),
        ("ownership", "ownership of a superuser"),
    ):
        answer = superuser.send(f"{here}/{change}", confirmed(SUPERUSER), token=token)
        assert (answer.status_code, text in answer.text) == (400, True)


def test_only_operators_see_accounts_and_only_superusers_change_them(
    panel_site: MemorySite, browsers: Browsers, user: str, organization: str
) -> None:
    pages = [USERS, f"{USERS}/{user}", f"{ORGANIZATIONS}/{organization}"]
    for caller, status in ((None, 303), (STRANGER, 403), (AUDITOR, 200), (SUPERUSER, 200)):
        browsers[caller].get(ORGANIZATIONS, status=status)
        for page in pages:
            answer = browsers[caller].get(page, status=status)
            assert status != 200 or statements(answer) <= 3
            changing = '/delete"' in answer.text or "New user" in answer.text
            assert changing is (caller == SUPERUSER)
    for changed in (f"{USERS}/{user}", f"{ORGANIZATIONS}/{organization}"):
        browsers[AUDITOR].get(f"{changed}/delete", status=403)
    forms = {
        USERS: {"username": "intruder", "password": PASSWORD},
        **{f"{USERS}/{user}/{change}": confirmed(user) for change in ("disable", "delete")},
        f"{USERS}/{user}/email": {"email": "x@example.com"},
        f"{USERS}/{user}/ownership": confirmed(user),
        f"{USERS}/{user}/password": {"password": "1" * 9, "repeated": "1" * 9},
        f"{ORGANIZATIONS}/{organization}/name": {"name": "x1", **confirmed(organization)},
        f"{ORGANIZATIONS}/{organization}/ownership": confirmed(organization),
        f"{ORGANIZATIONS}/{organization}/delete": confirmed(organization),
    }

    def state() -> object:
        query = 'SELECT username, email, enabled, password_hash FROM "user" ORDER BY username'
        return panel_site.database.read(query)

    check_forged_forms(browsers, SUPERUSER, forms, state)
    check_refused_users(browsers, forms, {SUPERUSER}, state)


def test_the_navigation_of_operators_marks_the_page(superuser: PanelBrowser) -> None:
    source = superuser.get("/superuser").text
    listed = re.search(r'<nav class="operations".*?</nav>', source, re.DOTALL)
    assert listed is not None
    pages = re.findall(r'href="([^"]+)"', listed[0])
    assert {USERS, ORGANIZATIONS, "/superuser"} <= set(pages)
    for page in pages:
        assert f'<a href="{page}" aria-current="page">' in superuser.get(page).text
    for page in (f"{USERS}/{READER}", f"{USERS}/{READER}/delete"):
        assert f'<a href="{USERS}" aria-current="true">' in superuser.get(page).text
