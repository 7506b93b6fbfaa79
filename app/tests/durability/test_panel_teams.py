"""Administrators of an organization manage its teams and its default permissions."""

from __future__ import annotations

from typing import Any

import pytest

from .api_client import ApiClient
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
    organization,
)
from .panel_site import AUDITOR, READER, STRANGER
from .sites import SUPERUSER, MemorySite

NAME = "fleet"
HERE = f"/organization/{NAME}"
CREW = f"{HERE}/teams/crew"
USERS = (None, SUPERUSER, ADMINISTRATOR, WRITER, READER, STRANGER, AUDITOR)


@pytest.fixture(scope="module")
def client(panel_site: MemorySite) -> ApiClient:
    client = organization(panel_site, NAME)
    client.call("PUT", f"{HERE[1:]}/robots/ci", {}, status=201)
    return client


@pytest.fixture(scope="module")
def browsers(panel_site: MemorySite, client: ApiClient) -> Browsers:
    del client
    return Browsers(panel_site)


@pytest.fixture
def administrator(browsers: Browsers) -> PanelBrowser:
    return browsers[ADMINISTRATOR]


@pytest.fixture
def crew(client: ApiClient) -> None:
    """The team `crew` with one member."""
    body = {"role": "member", "description": HOSTILE}
    client.call("PUT", f"{HERE[1:]}/team/crew", body)
    client.call("PUT", f"{HERE[1:]}/team/crew/members/{READER}")


def teams(client: ApiClient) -> dict[str, Any]:
    return dict(client.call("GET", HERE[1:])["teams"])


def members(client: ApiClient, team: str = "crew") -> set[str]:
    found = client.call("GET", f"{HERE[1:]}/team/{team}/members")["members"]
    return {one["name"] for one in found}


def prototypes(client: ApiClient) -> list[dict[str, Any]]:
    return list(client.call("GET", f"{HERE[1:]}/prototypes")["prototypes"])


@pytest.fixture
def prototype(client: ApiClient) -> str:
    """The id of a default permission."""
    for one in prototypes(client):
        client.call("DELETE", f"{HERE[1:]}/prototypes/{one['id']}", status=204)
    body = {"role": "read", "delegate": {"kind": "user", "name": f"{NAME}+ci"}}
    return str(client.call("POST", f"{HERE[1:]}/prototypes", body)["id"])


def forms(prototype: str) -> dict[str, dict[str, str]]:
    return {
        f"{HERE}/new-team": {"name": "deck", "role": "member"},
        CREW: {"member": WRITER},
        f"{CREW}/change": {"role": "admin"},
        f"{CREW}/delete": {"team": "crew"},
        f"{HERE}/new-permission": {"kind": "team", "delegate": "crew", "role": "read"},
        f"{HERE}/permissions/{prototype}": {"delete": "true"},
    }


def test_a_team_is_created_changed_and_deleted(
    administrator: PanelBrowser, client: ApiClient
) -> None:
    path = f"{HERE}/new-team"
    fields = {"name": "galley", "role": "creator", "description": "Cooks"}
    assert administrator.submit(path, fields) == f"{HERE}/teams/galley"
    team = teams(client)["galley"]
    assert (team["role"], team["description"]) == ("creator", "Cooks")
    change = f"{HERE}/teams/galley/change"
    page = administrator.text(change)
    assert '<option value="creator" selected>' in page
    assert "Cooks</textarea>" in page
    administrator.submit(change, {"role": "member", "description": ""})
    team = teams(client)["galley"]
    assert (team["role"], team["description"]) == ("member", "")
    delete, fields = f"{HERE}/teams/galley/delete", {"team": "galley"}
    check_fresh_login(administrator, delete, fields, lambda: teams(client))
    assert administrator.submit(delete, fields) == HERE
    assert "galley" not in teams(client)
    for form in (delete, change):
        administrator.get(form, status=404)
        answer = administrator.send(form, fields, token=administrator.token("/"))
        assert answer.status_code == 404
    assert "galley" not in teams(client)


@pytest.mark.usefixtures("crew")
def test_a_new_team_never_replaces_one(administrator: PanelBrowser, client: ApiClient) -> None:
    path, before = f"{HERE}/new-team", teams(client)
    for name, text in (("crew", "exists already"), ("UPPER", "not a valid team name")):
        fields = {"name": name, "role": "admin"}
        answer = administrator.send(path, fields, token=administrator.token(path))
        assert answer.status_code == 400
        assert text in answer.text
        assert f'value="{name}"' in answer.text
        assert '<option value="admin" selected>' in answer.text
    assert teams(client) == before


@pytest.mark.usefixtures("crew")
def test_users_and_robots_are_added_to_a_team_and_removed(
    administrator: PanelBrowser, client: ApiClient
) -> None:
    for name in (f"{NAME}+ci", STRANGER):
        assert administrator.submit(CREW, {"member": f" {name} "}) == CREW
    assert members(client) == {f"{NAME}+ci", STRANGER, READER}
    assert administrator.text(CREW).count('name="remove"') == 3
    administrator.submit(CREW, {"remove": STRANGER})
    assert members(client) == {f"{NAME}+ci", READER}
    for unknown in ("nobody", HOSTILE, "admin+ci", "x" * 5000, ""):
        answer = administrator.send(CREW, {"member": unknown}, token=administrator.token(CREW))
        assert answer.status_code == 404
        assert 'id="form-error"' in answer.text
        assert "<script>alert" not in answer.text
    assert members(client) == {f"{NAME}+ci", READER}


def test_the_last_administrator_stays(administrator: PanelBrowser, client: ApiClient) -> None:
    path = f"{HERE}/teams/owners"
    answer = administrator.send(path, {"remove": ADMINISTRATOR}, token=administrator.token(path))
    assert answer.status_code == 400
    assert 'id="form-error"' in answer.text
    change = f"{path}/change"
    answer = administrator.send(change, {"role": "member"}, token=administrator.token(change))
    assert answer.status_code == 400
    assert members(client, "owners") == {ADMINISTRATOR}


@pytest.mark.usefixtures("crew", "prototype")
def test_a_default_permission_is_created_changed_and_deleted(
    administrator: PanelBrowser, client: ApiClient
) -> None:
    path, page = f"{HERE}/new-permission", f"{HERE}?tab=permissions"
    (before,) = prototypes(client)
    fields = {"kind": "team", "delegate": "crew", "role": "write", "creator": WRITER}
    assert administrator.submit(path, fields) == page
    (created,) = [one for one in prototypes(client) if one["id"] != before["id"]]
    assert (created["role"], created["delegate"]["name"]) == ("write", "crew")
    assert created["activating_user"]["name"] == WRITER
    form = f"{HERE}/permissions/{created['id']}"
    assert administrator.submit(form, {"role": "admin"}, page=page) == page
    assert {one["role"] for one in prototypes(client)} == {"read", "admin"}
    administrator.submit(form, {"delete": "true"}, page=page)
    assert prototypes(client) == [before]
    for wrong, status in (({"delegate": "nobody"}, 400), ({"kind": "planet"}, 400)):
        answer = administrator.send(path, fields | wrong, token=administrator.token(path))
        assert answer.status_code == status
        assert f'value="{WRITER}"' in answer.text
    assert prototypes(client) == [before]


@pytest.mark.usefixtures("crew")
def test_forms_of_teams_need_the_token_of_their_session(
    browsers: Browsers, client: ApiClient, prototype: str
) -> None:
    check_forged_forms(
        browsers,
        ADMINISTRATOR,
        forms(prototype),
        lambda: (teams(client), members(client), prototypes(client)),
    )


@pytest.mark.usefixtures("crew")
def test_forms_of_teams_are_for_administrators(
    browsers: Browsers, client: ApiClient, prototype: str
) -> None:
    check_refused_users(
        browsers,
        forms(prototype),
        {ADMINISTRATOR},
        lambda: (teams(client), members(client), prototypes(client)),
    )
    shown = (f"{HERE}/new-team", f"{CREW}/change", f"{CREW}/delete", f"{HERE}/new-permission")
    for form in shown:
        for user in (WRITER, READER, STRANGER, AUDITOR):
            browsers[user].get(form, status=403)
        browsers[None].get(form, status=303)


@pytest.mark.usefixtures("crew", "prototype")
@pytest.mark.parametrize("user", USERS)
def test_teams_and_default_permissions_are_shown_as_by_the_api(
    panel_site: MemorySite, browsers: Browsers, user: str | None
) -> None:
    api = ApiClient(panel_site, user)
    for page, path in (
        (CREW, f"{HERE[1:]}/team/crew/members"),
        (f"{HERE}?tab=permissions", f"{HERE[1:]}/prototypes"),
        (f"{HERE}/teams/absent", f"{HERE[1:]}/team/absent/members"),
    ):
        status = api.request("GET", path).status_code
        answer = browsers[user].get(page, status=303 if status == 401 else status)
        if status == 200:
            administers = user == ADMINISTRATOR
            assert ('class="button small"' in answer.text) is administers
            assert statements(answer) <= 3
    shown = browsers[user].text(HERE)
    assert ("/new-team" in shown) is (user == ADMINISTRATOR)


@pytest.mark.usefixtures("crew")
def test_forms_of_teams_cost_at_most_three_statements_and_escape_texts(
    administrator: PanelBrowser,
) -> None:
    check_escaped(administrator, HERE)
    check_escaped(administrator, f"{CREW}/change")
    for page in (
        HERE,
        f"{HERE}/new-team",
        f"{CREW}/change",
        f"{CREW}/delete",
        f"{HERE}/new-permission",
    ):
        assert statements(administrator.get(page)) <= 3, page
