"""Administrators change permissions, visibility, state and description, and delete repositories."""

from __future__ import annotations

from typing import Any

import pytest
from atoll.names import RepositoryName

from .api_client import PASSWORD, ApiClient
from .panel_browser import PanelBrowser, statements
from .panel_forms import (
    ADMINISTRATOR,
    HOSTILE,
    WRITER,
    Browsers,
    check_escaped,
    check_forged_forms,
    check_fresh_login,
    check_refused_users,
    private_repository,
)
from .panel_site import AUDITOR, READER, STRANGER
from .sites import SUPERUSER, MemorySite

NAME = RepositoryName(SUPERUSER, "settled")
HERE = f"/repository/{NAME}"
SETTINGS = f"{HERE}?tab=settings"
FORMS = {
    f"{HERE}/settings/permission": {"kind": "user", "delegate": STRANGER, "role": "read"},
    f"{HERE}/settings/state": {"state": "READ_ONLY"},
    f"{HERE}/settings/visibility": {"visibility": "public", "current_password": PASSWORD},
    f"{HERE}/settings/delete": {"repository": str(NAME), "current_password": PASSWORD},
}
DESCRIPTION = {f"{HERE}/settings/description": {"description": "changed"}}


@pytest.fixture(scope="module")
def browsers(panel_site: MemorySite) -> Browsers:
    private_repository(panel_site, NAME.name)
    return Browsers(panel_site)


@pytest.fixture
def administrator(browsers: Browsers) -> PanelBrowser:
    return browsers[ADMINISTRATOR]


def repository(site: MemorySite, name: RepositoryName = NAME) -> dict[str, Any]:
    query = {"includeTags": "false"}
    return dict(ApiClient(site).call("GET", f"repository/{name}", query=query))


def roles(site: MemorySite, kind: str = "user") -> dict[str, str]:
    path = f"{HERE[1:]}/permissions/{kind}/"
    found = ApiClient(site).call("GET", path)["permissions"]
    return {name: one["role"] for name, one in found.items()}


def test_permissions_are_granted_changed_and_revoked(
    panel_site: MemorySite, administrator: PanelBrowser
) -> None:
    path = f"{HERE}/settings/permission"
    fields = {"kind": "user", "delegate": f" {STRANGER} "}
    for role in ("read", "write"):
        location = administrator.submit(path, {**fields, "role": role}, page=SETTINGS)
        assert location == SETTINGS
        assert roles(panel_site)[STRANGER] == role
    assert f'aria-label="Role of {STRANGER}"' in administrator.text(SETTINGS)
    administrator.submit(path, {**fields, "revoke": "true"}, page=SETTINGS)
    assert STRANGER not in roles(panel_site)
    for wrong in ({"delegate": HOSTILE}, {"delegate": ""}, {"kind": "org"}, {"role": "owner"}):
        sent = {**fields, "role": "read", **wrong}
        answer = administrator.send(path, sent, token=administrator.token(SETTINGS))
        assert answer.status_code == 400
        assert 'id="form-error"' in answer.text
        assert "<script>alert" not in answer.text


def test_teams_of_the_organization_get_permissions(
    panel_site: MemorySite, browsers: Browsers
) -> None:
    api, name = ApiClient(panel_site), RepositoryName("settlers", "shared")
    api.call("POST", "organization/", {"name": name.namespace}, status=201)
    api.call("PUT", f"organization/{name.namespace}/team/crew", {"role": "member"})
    body = {"namespace": name.namespace, "repository": name.name, "visibility": "private"}
    api.call("POST", "repository", body, status=201)
    page, path = f"/repository/{name}?tab=settings", f"/repository/{name}/settings/permission"
    fields = {"kind": "team", "delegate": "crew", "role": "write"}
    assert browsers[SUPERUSER].submit(path, fields, page=page) == page
    found = api.call("GET", f"repository/{name}/permissions/team/")["permissions"]
    assert found["crew"]["role"] == "write"
    assert 'data-label="Kind">team<' in browsers[SUPERUSER].text(page)


def test_a_repository_becomes_public_only_with_the_password(
    panel_site: MemorySite, administrator: PanelBrowser
) -> None:
    path = f"{HERE}/settings/visibility"
    assert f'href="{path}"' in administrator.text(SETTINGS)
    assert "Make the repository public" in administrator.text(path)
    kept = administrator.cookies.pop("fresh_login")
    for password in ("", "a wrong password"):
        fields = {"visibility": "public", "current_password": password}
        answer = administrator.send(path, fields, token=administrator.token(path))
        assert answer.status_code == 400
        assert "Enter your current password" in answer.text
        assert repository(panel_site)["is_public"] is False
    administrator.cookies["fresh_login"] = kept
    assert administrator.submit(path, {"visibility": "public"}) == SETTINGS
    assert repository(panel_site)["is_public"] is True
    assert administrator.submit(path, {"visibility": "private"}) == SETTINGS
    assert repository(panel_site)["is_public"] is False


def test_the_state_is_changed_to_those_that_the_api_permits(
    panel_site: MemorySite, administrator: PanelBrowser
) -> None:
    path = f"{HERE}/settings/state"
    for state in ("READ_ONLY", "MIRROR", "NORMAL"):
        assert administrator.submit(path, {"state": state}, page=SETTINGS) == SETTINGS
        assert repository(panel_site)["state"] == state
    answer = administrator.send(path, {"state": "absent"}, token=administrator.token(SETTINGS))
    assert answer.status_code == 400


def test_writers_describe_the_repository(panel_site: MemorySite, browsers: Browsers) -> None:
    page, (path,) = f"{HERE}?tab=information", DESCRIPTION
    text = f"{HOSTILE}\r\n</textarea>"
    assert browsers[WRITER].submit(path, {"description": text}, page=page) == page
    assert repository(panel_site)["description"] == text.replace("\r\n", "\n")
    check_escaped(browsers[WRITER], page)
    assert "<textarea" not in browsers[READER].get(page).text


def test_a_repository_is_deleted_with_its_name_and_the_password(
    panel_site: MemorySite, browsers: Browsers
) -> None:
    browser, name = browsers[ADMINISTRATOR], private_repository(panel_site, "doomed")
    path = f"/repository/{name}/settings/delete"
    check_fresh_login(
        browser, path, {"repository": str(name)}, lambda: repository(panel_site, name)
    )
    fields = {"repository": str(name), "current_password": PASSWORD}
    assert browser.submit(path, fields) == "/repository/"
    ApiClient(panel_site).call("GET", f"repository/{name}", status=404)


def test_forms_of_settings_need_the_token_of_their_session(
    panel_site: MemorySite, browsers: Browsers
) -> None:
    check_forged_forms(
        browsers,
        ADMINISTRATOR,
        {**FORMS, **DESCRIPTION},
        lambda: (repository(panel_site), roles(panel_site)),
    )


def test_forms_of_settings_need_admin_permission(
    panel_site: MemorySite, browsers: Browsers
) -> None:
    def state() -> object:
        return repository(panel_site), roles(panel_site)

    check_refused_users(browsers, FORMS, {SUPERUSER, ADMINISTRATOR}, state)
    check_refused_users(browsers, DESCRIPTION, {SUPERUSER, ADMINISTRATOR, WRITER}, state)
    for form in ("visibility", "delete"):
        browsers[WRITER].get(f"{HERE}/settings/{form}", status=403)


def test_settings_are_shown_exactly_if_the_api_permits_it(
    panel_site: MemorySite, browsers: Browsers
) -> None:
    for user in (None, SUPERUSER, ADMINISTRATOR, WRITER, READER, STRANGER, AUDITOR):
        path = f"{HERE[1:]}/permissions/user/"
        status = ApiClient(panel_site, user).request("GET", path).status_code
        answer = browsers[user].get(SETTINGS, status=303 if status == 401 else status)
        if status == 200:
            assert statements(answer) <= 3
    for page in (f"{HERE}/settings/visibility", f"{HERE}/settings/delete"):
        assert statements(browsers[ADMINISTRATOR].get(page)) <= 3
