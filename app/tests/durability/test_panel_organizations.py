"""Users create organizations and repositories; administrators change and delete organizations."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from atoll.names import RepositoryName

from .api_client import ApiClient
from .panel_browser import PanelBrowser, statements
from .panel_forms import (
    ADMINISTRATOR,
    WRITER,
    Browsers,
    check_forged_forms,
    check_fresh_login,
    check_refused_users,
    organization,
)
from .panel_site import AUDITOR, READER, STRANGER
from .sites import SUPERUSER, MemorySite, make_registry

NAME = "harbour"
HERE = f"/organization/{NAME}"
USERS = (None, SUPERUSER, ADMINISTRATOR, WRITER, READER, STRANGER, AUDITOR)
_numbers = itertools.count()


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


def details(client: ApiClient, name: str = NAME) -> dict[str, Any]:
    return dict(client.call("GET", f"organization/{name}"))


def accounts(site: MemorySite) -> set[str]:
    return {row[0] for row in site.database.run('SELECT username FROM "user"')}


def repositories(client: ApiClient, namespace: str) -> dict[str, dict[str, Any]]:
    found = client.call("GET", "repository", query={"namespace": namespace})["repositories"]
    return {one["name"]: one for one in found}


def test_a_user_creates_an_organization_and_administers_it(
    panel_site: MemorySite, browsers: Browsers
) -> None:
    stranger = browsers[STRANGER]
    page = "/organization/?new=true"
    fields = {"name": "guildhall", "email": "guild@example.com"}
    assert stranger.submit("/organization/", fields, page=page) == "/organization/guildhall"
    created = details(ApiClient(panel_site, STRANGER), "guildhall")
    assert (created["email"], created["is_admin"]) == ("guild@example.com", True)
    for name in ("guildhall", SUPERUSER, "not valid", ""):
        answer = stranger.send("/organization/", {"name": name}, token=stranger.token(page))
        assert answer.status_code == 400
        assert 'id="form-error"' in answer.text
        assert f'value="{name}"' in answer.text


def test_only_superusers_create_organizations_with_the_option(
    panel_uri: str, client: ApiClient, tmp_path: Path
) -> None:
    del client
    changes = {"FEATURE_SUPERUSERS_ORG_CREATION_ONLY": True}
    site = make_registry(panel_uri, tmp_path, ["us"], changes)["us"]
    reader = PanelBrowser(site, READER)
    assert "?new=true" not in reader.text("/organization/")
    assert 'name="name"' not in reader.text("/organization/?new=true")
    answer = reader.send("/organization/", {"name": "refused"}, token=reader.token("/"))
    assert answer.status_code == 403
    assert 'name="name"' in PanelBrowser(site, SUPERUSER).text("/organization/?new=true")


def test_a_repository_is_created_where_the_api_permits_it(
    panel_site: MemorySite, browsers: Browsers
) -> None:
    for user in (SUPERUSER, ADMINISTRATOR, WRITER, READER, STRANGER, AUDITOR):
        name = f"made{next(_numbers)}"
        body = {"namespace": NAME, "repository": f"{name}api", "visibility": "private"}
        status = ApiClient(panel_site, user).request("POST", "repository", body).status_code
        fields = {
            "namespace": NAME,
            "name": name,
            "visibility": "private",
            "description": "Made\r\nhere",
        }
        browser = browsers[user]
        answer = browser.send("/repository/", fields, token=browser.token("/"))
        assert answer.status_code == (303 if status == 201 else status), user
        found = repositories(ApiClient(panel_site, ADMINISTRATOR), NAME)
        assert (name in found) is (status == 201)
        if status == 201:
            assert answer.headers["location"] == f"/repository/{NAME}/{name}"
            assert (found[name]["is_public"], found[name]["description"]) == (False, "Made\nhere")


def test_a_wrong_repository_shows_the_form_again(browsers: Browsers) -> None:
    writer = browsers[WRITER]
    page = f"/repository/?namespace={NAME}&new=true"
    assert f'value="{NAME}"' in writer.text(page)
    for wrong, status in (
        ({"name": "UPPER CASE"}, 400),
        ({"namespace": "nowhere"}, 404),
        ({"visibility": "secret"}, 400),
    ):
        fields = {"namespace": NAME, "name": "wrong", "visibility": "public", **wrong}
        answer = writer.send("/repository/", fields, token=writer.token(page))
        assert answer.status_code == status
        assert f'value="{fields["name"]}"' in answer.text
        assert 'id="form-error"' in answer.text


def test_the_settings_of_an_organization_are_changed(
    administrator: PanelBrowser, client: ApiClient
) -> None:
    path = f"{HERE}/settings"
    assert f'href="{path}"' in administrator.text(HERE)
    fields = {"email": "harbour@example.com", "expiration": "86400"}
    assert administrator.submit(path, fields) == path
    changed = details(client)
    assert (changed["email"], changed["tag_expiration_s"]) == ("harbour@example.com", 86400)
    assert '<option value="86400" selected>1 d</option>' in administrator.text(path)
    for wrong, text in (
        ({"expiration": "5"}, "TAG_EXPIRATION_OPTIONS"),
        ({"email": ""}, "not removed"),
        ({"email": f"{READER}@example.com"}, "taken"),
        ({"expiration": "soon"}, "tag_expiration_s"),
    ):
        answer = administrator.send(path, fields | wrong, token=administrator.token(path))
        assert answer.status_code == 400
        assert text in answer.text
    assert details(client) == changed


def test_the_settings_of_an_account_are_changed(panel_site: MemorySite, browsers: Browsers) -> None:
    writer, client = browsers[WRITER], ApiClient(panel_site, WRITER)
    page = f"/user/{WRITER}"
    path = f"{page}/settings"
    fields = {"email": "writer@example.org", "expiration": "604800"}
    assert writer.submit(path, fields) == page
    changed = client.call("GET", "user/")
    assert (changed["email"], changed["tag_expiration_s"]) == ("writer@example.org", 604800)
    assert '<option value="604800" selected>7 d</option>' in writer.text(page)
    for wrong in ({"expiration": "5"}, {"email": ""}, {"email": f"{READER}@example.com"}):
        answer = writer.send(path, fields | wrong, token=writer.token(path))
        assert answer.status_code == 400
        assert answer.text.count('id="form-error"') == 1
    assert client.call("GET", "user/") == changed
    for user in (READER, SUPERUSER, AUDITOR):
        browsers[user].get(path, status=403)
        answer = browsers[user].send(path, fields, token=browsers[user].token("/"))
        assert answer.status_code == 403
    auditor = f"/user/{AUDITOR}/settings"
    assert "<form method" not in browsers[AUDITOR].text(auditor).partition("<main")[2]
    answer = browsers[AUDITOR].send(auditor, fields, token=browsers[AUDITOR].token("/"))
    assert answer.status_code == 403


def test_an_organization_is_deleted_after_a_confirmation(
    panel_site: MemorySite, administrator: PanelBrowser
) -> None:
    client = organization(panel_site, "sunk")
    repository = RepositoryName("sunk", "ship")
    panel_site.graph.repositories.create(repository, "private", ADMINISTRATOR)
    path, fields = "/organization/sunk/delete", {"organization": "sunk"}
    check_fresh_login(administrator, path, fields, lambda: repositories(client, "sunk"))
    assert administrator.submit(path, fields) == "/organization/"
    assert "sunk" not in accounts(panel_site)
    administrator.get(path, status=404)


def forms() -> dict[str, dict[str, str]]:
    return {
        f"{HERE}/settings": {"email": "x@example.com", "expiration": "0"},
        f"{HERE}/delete": {"organization": NAME},
    }


def creations() -> dict[str, dict[str, str]]:
    repository = {"namespace": NAME, "name": "forged", "visibility": "public"}
    return {"/organization/": {"name": "forged"}, "/repository/": repository}


def test_forms_of_organizations_need_the_token_of_their_session(
    panel_site: MemorySite, browsers: Browsers, client: ApiClient
) -> None:
    check_forged_forms(
        browsers,
        ADMINISTRATOR,
        forms() | creations(),
        lambda: (details(client), accounts(panel_site), repositories(client, NAME)),
    )


def test_settings_are_for_administrators(browsers: Browsers, client: ApiClient) -> None:
    check_refused_users(browsers, forms(), {ADMINISTRATOR}, lambda: details(client))
    for user in USERS:
        refused = 303 if user is None else 403
        for page, allowed in (("settings", {ADMINISTRATOR, AUDITOR}), ("delete", {ADMINISTRATOR})):
            shown = browsers[user].get(f"{HERE}/{page}", status=200 if user in allowed else refused)
            assert statements(shown) <= 3
        answer = browsers[user].get(f"{HERE}?tab=settings", status=shown_status(user))
        assert ("/delete" in answer.text) is (user == ADMINISTRATOR)


def shown_status(user: str | None) -> int:
    """Return the status of the settings of an organization."""
    if user is None:
        return 303
    return 200 if user in {ADMINISTRATOR, AUDITOR} else 403


def test_nothing_is_created_without_permission_to_change(
    panel_site: MemorySite, browsers: Browsers, client: ApiClient
) -> None:
    def state() -> tuple[set[str], dict[str, Any]]:
        return accounts(panel_site), repositories(client, NAME)

    before = state()
    for user, status in ((None, 303), (AUDITOR, 403)):
        token = browsers[user].token("/signin/" if user is None else "/")
        for path, fields in creations().items():
            assert browsers[user].send(path, fields, token=token).status_code == status
        assert "?new=true" not in browsers[user].text("/repository/")
    assert state() == before


def test_pages_with_forms_of_creation_cost_at_most_three_statements(
    administrator: PanelBrowser,
) -> None:
    for page in ("/organization/?new=true", "/repository/?new=true"):
        answer = administrator.get(page)
        assert 'name="name"' in answer.text
        assert statements(answer) <= 3
