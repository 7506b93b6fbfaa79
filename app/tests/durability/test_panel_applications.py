"""Administrators of an organization manage its OAuth applications."""

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

NAME = "works"
HERE = f"/organization/{NAME}"
TAB = f"{HERE}?tab=applications"
API = f"{HERE[1:]}/applications"


@pytest.fixture(scope="module")
def client(panel_site: MemorySite) -> ApiClient:
    return organization(panel_site, NAME)


@pytest.fixture(scope="module")
def browsers(panel_site: MemorySite, client: ApiClient) -> Browsers:
    del client
    return Browsers(panel_site)


@pytest.fixture
def administrator(browsers: Browsers) -> PanelBrowser:
    return browsers[ADMINISTRATOR]


def applications(client: ApiClient) -> dict[str, dict[str, Any]]:
    """Return the applications, with their secrets, by client id."""
    return {one["client_id"]: one for one in client.call("GET", API)["applications"]}


@pytest.fixture
def application(client: ApiClient) -> str:
    """The client id of an application."""
    return str(client.call("POST", API, {"name": HOSTILE})["client_id"])


def forms(application: str) -> dict[str, dict[str, str]]:
    one = f"{HERE}/applications/{application}"
    return {
        f"{HERE}/new-application": {"name": "other"},
        one: {"name": "renamed"},
        f"{one}/reset": {"application": HOSTILE},
        f"{one}/delete": {"application": HOSTILE},
    }


def test_the_secret_of_a_new_application_is_in_the_answer_to_its_form_only(
    administrator: PanelBrowser, client: ApiClient
) -> None:
    path = f"{HERE}/new-application"
    fields = {
        "name": "Dashboard",
        "redirect_uri": "https://dashboard.example/",
        "application_uri": "https://dashboard.example/about",
        "description": "Shows\r\nthings",
    }
    answer = administrator.send(path, fields, token=administrator.token(path))
    (created,) = [one for one in applications(client).values() if one["name"] == "Dashboard"]
    assert created.items() >= (fields | {"description": "Shows\nthings"}).items()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert created["client_secret"] in answer.text
    one = f"{HERE}/applications/{created['client_id']}"
    for later in (TAB, one, f"{one}/reset", f"{one}/delete"):
        source = administrator.get(later).text
        assert "Dashboard" in source
        assert created["client_secret"] not in source
    answer = administrator.send(path, {**fields, "name": ""}, token=administrator.token(path))
    assert answer.status_code == 400
    assert 'value="https://dashboard.example/"' in answer.text


def test_an_application_is_changed(
    administrator: PanelBrowser, client: ApiClient, application: str
) -> None:
    path = f"{HERE}/applications/{application}"
    before = applications(client)[application]
    fields = {"name": "Portal", "redirect_uri": "https://portal.example/"}
    assert administrator.submit(path, fields) == TAB
    assert applications(client)[application] == {**before, **fields}
    assert 'value="https://portal.example/"' in administrator.text(path)


def test_a_secret_is_replaced_after_a_confirmation_and_shown_once(
    administrator: PanelBrowser, client: ApiClient, application: str
) -> None:
    path, fields = f"{HERE}/applications/{application}/reset", {"application": HOSTILE}
    check_fresh_login(administrator, path, fields, lambda: applications(client))
    before = applications(client)[application]["client_secret"]
    answer = administrator.send(path, fields, token=administrator.token(path))
    after = applications(client)[application]["client_secret"]
    assert answer.status_code == 200
    assert after != before
    assert after in answer.text
    assert before not in answer.text


def test_an_application_is_deleted_after_a_confirmation(
    administrator: PanelBrowser, client: ApiClient
) -> None:
    # The text that a browser shows for this name has one space.
    client_id = client.call("POST", API, {"name": " Old  portal "})["client_id"]
    path, fields = f"{HERE}/applications/{client_id}/delete", {"application": "Old portal"}
    check_fresh_login(administrator, path, fields, lambda: applications(client))
    assert administrator.submit(path, fields) == TAB
    assert client_id not in applications(client)
    administrator.get(path, status=404)


def test_forms_of_applications_need_their_token_and_are_for_administrators(
    browsers: Browsers, client: ApiClient, application: str
) -> None:
    paths = forms(application)
    check_forged_forms(browsers, ADMINISTRATOR, paths, lambda: applications(client))
    check_refused_users(browsers, paths, {ADMINISTRATOR}, lambda: applications(client))
    for form in paths:
        for user in (WRITER, READER, STRANGER, AUDITOR):
            browsers[user].get(form, status=403)
        browsers[None].get(form, status=303)


def test_applications_are_listed_as_by_the_api(
    panel_site: MemorySite, browsers: Browsers, application: str
) -> None:
    for user in (None, SUPERUSER, ADMINISTRATOR, WRITER, READER, STRANGER, AUDITOR):
        expected = ApiClient(panel_site, user).request("GET", API).status_code
        answer = browsers[user].get(TAB, status=303 if expected == 401 else expected)
        assert (application in answer.text) is (expected == 200)
        assert ("/new-application" in answer.text) is (user == ADMINISTRATOR)


def test_pages_of_applications_cost_at_most_three_statements_and_escape_texts(
    administrator: PanelBrowser, application: str
) -> None:
    for page in (TAB, f"{HERE}/applications/{application}/delete"):
        check_escaped(administrator, page)
    for page in (TAB, *forms(application)):
        assert statements(administrator.get(page)) <= 3, page
