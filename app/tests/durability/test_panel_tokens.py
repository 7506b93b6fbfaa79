"""Users create and revoke their app-specific tokens, and revoke the API tokens they issued."""

from __future__ import annotations

import re
import shlex
from html import unescape
from pathlib import Path

import pytest
from atoll.auth.api_tokens import ApiTokens

from .api_client import ApiClient
from .panel_browser import PanelBrowser, statements
from .panel_forms import (
    ADMINISTRATOR,
    HOSTILE,
    WRITER,
    Browsers,
    check_escaped,
    check_forged_forms,
    check_refused_users,
    organization,
)
from .panel_site import AUDITOR, READER, STRANGER
from .sites import SUPERUSER, MemorySite, make_registry

HERE = f"/user/{WRITER}"
TAB = f"{HERE}?tab=tokens"


@pytest.fixture(scope="module")
def client(panel_site: MemorySite) -> ApiClient:
    organization(panel_site, "tokens")
    return ApiClient(panel_site, WRITER)


@pytest.fixture(scope="module")
def browsers(panel_site: MemorySite, client: ApiClient) -> Browsers:
    del client
    return Browsers(panel_site)


@pytest.fixture
def writer(browsers: Browsers) -> PanelBrowser:
    return browsers[WRITER]


def app_tokens(client: ApiClient) -> dict[str, str]:
    """Return the ids of the app-specific tokens by title."""
    return {one["title"]: one["uuid"] for one in client.call("GET", "user/apptoken")["tokens"]}


def api_tokens(client: ApiClient) -> set[str]:
    found = client.call("GET", "user/authorizations")["authorizations"]
    return {one["uuid"] for one in found}


@pytest.fixture
def app_token(client: ApiClient) -> str:
    """The id of an app-specific token."""
    created = client.call("POST", "user/apptoken", {"title": HOSTILE})
    return str(created["token"]["uuid"])


@pytest.fixture
def api_token(panel_site: MemorySite, client: ApiClient) -> str:
    """The id of an API token."""
    before = api_tokens(client)
    ApiTokens(panel_site.database).create(WRITER, ["repo:read"], 3600)
    (created,) = api_tokens(client) - before
    return created


def test_a_new_app_token_is_in_the_answer_to_its_form_only(
    writer: PanelBrowser, client: ApiClient
) -> None:
    path = f"{HERE}/tokens/new"
    answer = writer.send(path, {"title": "laptop"}, token=writer.token(TAB))
    uuid = app_tokens(client)["laptop"]
    code = client.call("GET", f"user/apptoken/{uuid}")["token"]["token_code"]
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    copied = [unescape(one) for one in re.findall(r'data-copy="([^"]*)"', answer.text)]
    line = next(one for one in copied if "podman login" in one)
    assert shlex.split(line)[:7] == ["echo", code, "|", "podman", "login", "-u", "$app"]
    for later in (TAB, path, f"{HERE}/tokens/{uuid}/revoke"):
        source = writer.get(later).text
        assert "laptop" in source
        assert code not in source
    answer = writer.send(path, {"title": ""}, token=writer.token(TAB))
    assert answer.status_code == 400
    assert 'id="form-error"' in answer.text


def test_tokens_are_revoked_after_a_confirmation(
    writer: PanelBrowser, client: ApiClient, app_token: str, api_token: str
) -> None:
    page = writer.text(TAB)
    for kind, uuid, listed in (
        ("tokens", app_token, lambda: set(app_tokens(client).values())),
        ("authorizations", api_token, lambda: api_tokens(client)),
    ):
        path = f"{HERE}/{kind}/{uuid}/revoke"
        assert f'href="{path}"' in page
        assert uuid in listed()
        assert writer.submit(path, {}) == TAB
        assert uuid not in listed()
        writer.get(path, status=404)
        assert writer.send(path, {}, token=writer.token(TAB)).status_code == 404


def forms(app_token: str, api_token: str) -> dict[str, dict[str, str]]:
    return {
        f"{HERE}/tokens/new": {"title": "other"},
        f"{HERE}/tokens/{app_token}/revoke": {},
        f"{HERE}/authorizations/{api_token}/revoke": {},
    }


def test_forms_of_tokens_need_the_token_of_their_session_and_are_for_their_user(
    browsers: Browsers, client: ApiClient, app_token: str, api_token: str
) -> None:
    paths = forms(app_token, api_token)

    def state() -> tuple[dict[str, str], set[str]]:
        return app_tokens(client), api_tokens(client)

    check_forged_forms(browsers, WRITER, paths, state)
    check_refused_users(browsers, paths, {WRITER}, state)
    for path in (TAB, *paths):
        for user in (SUPERUSER, ADMINISTRATOR, READER, STRANGER, AUDITOR):
            browsers[user].get(path, status=403)
        browsers[None].get(path, status=303)


def test_a_token_of_another_user_is_not_found(
    panel_site: MemorySite, browsers: Browsers, app_token: str, api_token: str
) -> None:
    reader, client = browsers[READER], ApiClient(panel_site, WRITER)
    for kind, uuid in (("tokens", app_token), ("authorizations", api_token)):
        path = f"/user/{READER}/{kind}/{uuid}/revoke"
        reader.get(path, status=404)
        assert reader.send(path, {}, token=reader.token("/")).status_code == 404
    assert app_token in app_tokens(client).values()
    assert api_token in api_tokens(client)


def test_an_auditor_reads_their_tokens_and_changes_nothing(browsers: Browsers) -> None:
    auditor, path = browsers[AUDITOR], f"/user/{AUDITOR}/tokens/new"
    assert path not in auditor.text(f"/user/{AUDITOR}?tab=tokens")
    assert auditor.send(path, {"title": "x"}, token=auditor.token("/")).status_code == 403


def test_pages_of_tokens_cost_at_most_three_statements_and_escape_titles(
    writer: PanelBrowser, app_token: str, api_token: str
) -> None:
    check_escaped(writer, TAB)
    check_escaped(writer, f"{HERE}/tokens/{app_token}/revoke")
    for page in (TAB, *forms(app_token, api_token)):
        assert statements(writer.get(page)) <= 3, page


def test_without_the_feature_only_api_tokens_are_shown(
    panel_uri: str, client: ApiClient, tmp_path: Path
) -> None:
    del client
    changes = {"FEATURE_APP_SPECIFIC_TOKENS": False}
    browser = PanelBrowser(make_registry(panel_uri, tmp_path, ["us"], changes)["us"], WRITER)
    page = browser.text(TAB)
    assert "API tokens" in page
    assert "/tokens/new" not in page
    answer = browser.send(f"{HERE}/tokens/new", {"title": "x"}, token=browser.token("/"))
    assert answer.status_code == 404
