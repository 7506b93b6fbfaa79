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
    known = {row[0] for row in site.database.run('SELECT username FROM "user"')}
    for user, role in ((ADMINISTRATOR, "admin"), (WRITER, "write"), (READER, "read")):
        if user not in known:
            users.create_user(site.database, user, f"{user}@example.com", PASSWORD)
        path = f"repository/{repository}/permissions/user/{user}"
        ApiClient(site).call("PUT", path, {"role": role})
    return repository


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


def check_escaped(browser: PanelBrowser, page: str) -> None:
    """Check that a page shows a hostile text, and escapes it."""
    source = browser.get(page).text
    if "&lt;script&gt;alert(1)" not in source:
        pytest.fail(f"{page} does not show the text")
    assert "<script>alert" not in source
    assert "<img" not in source
    assert "{{7*7}}" in source
