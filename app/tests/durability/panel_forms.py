"""Checks that hold for each form of the panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from atoll.auth import users
from atoll.names import RepositoryName

from .api_client import PASSWORD, ApiClient
from .panel_browser import PanelBrowser
from .panel_site import AUDITOR, READER, STRANGER
from .sites import SUPERUSER, MemorySite

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}"
WRITER, ADMINISTRATOR = "writer", "administrator"
_USERS = (None, SUPERUSER, ADMINISTRATOR, WRITER, READER, STRANGER, AUDITOR)
# The fields of a form, by its path.
Forms = Mapping[str, dict[str, str]]


class Browsers:
    """A browser of each user, which signs in when it is used first."""

    def __init__(self, site: MemorySite) -> None:
        self._site = site
        self._opened: dict[str | None, PanelBrowser] = {}

    def __getitem__(self, user: str | None) -> PanelBrowser:
        """Return the browser of a user; None is an anonymous visitor."""
        if user not in self._opened:
            self._opened[user] = PanelBrowser(self._site, user)
        return self._opened[user]


def private_repository(site: MemorySite, name: str) -> RepositoryName:
    """Create a private repository on which users have the roles of their names."""
    repository = RepositoryName(SUPERUSER, name)
    site.graph.repositories.create(repository, "private", SUPERUSER)
    _create_users(site)
    for user, role in ((ADMINISTRATOR, "admin"), (WRITER, "write"), (READER, "read")):
        path = f"repository/{repository}/permissions/user/{user}"
        ApiClient(site).call("PUT", path, {"role": role})
    return repository


def organization(site: MemorySite, name: str) -> ApiClient:
    """Create an organization of `administrator` and return the client of that user.

    `writer` may create repositories in it, and `reader` is a member.
    """
    _create_users(site)
    client = ApiClient(site, ADMINISTRATOR)
    client.call("POST", "organization/", {"name": name}, status=201)
    for user, role in ((WRITER, "creator"), (READER, "member")):
        team = f"organization/{name}/team/{role}s"
        client.call("PUT", team, {"role": role})
        client.call("PUT", f"{team}/members/{user}")
    return client


def _create_users(site: MemorySite) -> None:
    known = {row[0] for row in site.database.run('SELECT username FROM "user"')}
    for user in {ADMINISTRATOR, WRITER, READER} - known:
        users.create_user(site.database, user, f"{user}@example.com", PASSWORD)


def check_forged_forms(
    browsers: Browsers, user: str, forms: Forms, state: Callable[[], object]
) -> None:
    """Check that forms without their session's token are refused and change nothing."""
    before, foreign = state(), browsers[STRANGER].token("/")
    for path, fields in forms.items():
        for token in (None, "forged", foreign):
            answer = browsers[user].send(path, fields, token=token)
            assert answer.status_code == 403, (path, token)
    assert state() == before


def check_refused_users(
    browsers: Browsers, forms: Forms, allowed: set[str], state: Callable[[], object]
) -> None:
    """Check that the forms of users who lack the permission are refused and change nothing."""
    before = state()
    for user in _USERS:
        if user in allowed:
            continue
        token = browsers[user].token("/signin/" if user is None else "/")
        for path, fields in forms.items():
            answer = browsers[user].send(path, fields, token=token)
            assert answer.status_code == (303 if user is None else 403), (user, path)
            if user is None:
                assert answer.headers["location"].startswith("/signin/")
    assert state() == before


def check_fresh_login(
    browser: PanelBrowser, path: str, fields: dict[str, str], state: Callable[[], object]
) -> None:
    """Check that a form needs the name of its object, and the password again after a while.

    Args:
        browser: A browser of a user with the permission.
        path: The form.
        fields: Its fields, of which the first is the name.
        state: Returns what the form would change.
    """
    before, name = state(), next(iter(fields))
    answer = browser.send(path, {**fields, name: "another"}, token=browser.token(path))
    assert answer.status_code == 400
    assert 'id="form-error"' in answer.text
    fresh = browser.cookies.pop("fresh_login")
    assert 'name="current_password"' in browser.get(path).text
    # Wrong passwords would be throttled; `FreshLogin` has tests of its own.
    answer = browser.send(path, fields, token=browser.token(path))
    assert answer.status_code == 400
    assert "current password" in answer.text
    browser.cookies["fresh_login"] = fresh
    assert state() == before


def check_escaped(browser: PanelBrowser, page: str) -> None:
    """Check that a page shows a hostile text, and escapes it."""
    source = browser.get(page).text
    if "&lt;script&gt;alert(1)" not in source:
        pytest.fail(f"{page} does not show the text")
    assert "<script>alert" not in source
    assert "<img" not in source
    assert "{{7*7}}" in source
