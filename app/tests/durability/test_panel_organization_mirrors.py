"""Administrators set up, watch and change the mirror of an organization in the panel."""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from atoll.mirroring.organizations.discoveries import Discoveries
from atoll.mirroring.organizations.reconciliation import Reconciliation

from .api_client import PASSWORD, ApiClient
from .mirrored import make_robot
from .panel_browser import PanelBrowser, poll, statements
from .panel_fields import form_fields
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
from .sites import SUPERUSER, MemorySite

NAME = "mirrors"
ROBOT = f"{NAME}+mirror"
MIRROR = f"organization/{NAME}/mirror"
HERE = f"/organization/{NAME}?tab=mirroring"
EDIT = f"{HERE}&edit=true"
SECRET = "sesame: 100 %"
# All settings that the form has.
SETTINGS: dict[str, Any] = {
    "is_enabled": True,
    "external_registry_type": "harbor",
    "external_registry_url": "https://harbor.example",
    "external_namespace": "team",
    "external_registry_username": "reader",
    "external_registry_config": {"verify_tls": False},
    "repository_filters": ["web-*", "app"],
    "robot_username": ROBOT,
    "visibility": "public",
    "sync_interval": 7200,
    "sync_start_date": "2026-01-31T23:30:00Z",
    "skopeo_timeout": 45,
    "atoll": {
        "tags": {"rule_kind": "tag_glob_csv", "rule_value": ["3.*"]},
        "architecture_filter": ["arm64"],
        "exclude": ["*-rc*"],
        "newest": 7,
        "hours": "22:00-06:00",
        "referrers": "none",
        "rollback": True,
    },
}
# The same as a user types it.
FIELDS = {
    "action": "settings",
    "is_enabled": "true",
    "external_registry_type": "harbor",
    "external_registry_url": "https://harbor.example ",
    "external_namespace": "team",
    "external_registry_username": "reader",
    "external_registry_password": SECRET,
    "repository_filters": "web-*\r\napp",
    "robot_username": ROBOT,
    "visibility": "public",
    "sync_interval": "2",
    "sync_interval_unit": "3600",
    "sync_start_date": "2026-01-31T23:30",
    "timeout": "45",
    "timeout_unit": "1",
    "patterns": "3.*",
    "architecture_arm64": "true",
    "exclude": "*-rc*",
    "newest": "7",
    "hours": "22:00-06:00",
    "referrers": "none",
    "rollback": "true",
}


@pytest.fixture(scope="module")
def browsers(panel_site: MemorySite) -> Browsers:
    organization(panel_site, NAME)
    make_robot(panel_site, ROBOT)
    return Browsers(panel_site)


@pytest.fixture
def api(panel_site: MemorySite, browsers: Browsers) -> Iterator[ApiClient]:
    """A client of the API; the organization is no mirror."""
    del browsers
    client = ApiClient(panel_site)
    yield client
    client.request("DELETE", MIRROR)
    panel_site.database.run(
        'DELETE FROM repository r USING "user" n WHERE n.id = r.namespace_user_id AND'
        " n.username = %s",
        [NAME],
    )


@pytest.fixture
def administrator(browsers: Browsers) -> PanelBrowser:
    return browsers[ADMINISTRATOR]


def create(api: ApiClient, **changes: Any) -> None:
    body = {**SETTINGS, "external_registry_password": SECRET, **changes}
    api.call("POST", MIRROR, body, status=201)


def discover(site: MemorySite, *names: str) -> None:
    # The hours of the settings would make the result depend on the time of the day.
    site.database.run(
        "UPDATE orgmirrorconfig SET next_at = now() - interval '1 s', options = options - 'hours'"
        " RETURNING id"
    )
    claim = Discoveries(site.database).claim(None, [])
    assert claim is not None
    Reconciliation(site.database, site.graph.cipher).apply(claim[1], names, names)


def state(api: ApiClient) -> tuple[Any, ...]:
    answer = api.request("GET", MIRROR)
    return answer.status_code, answer.json.get("sync_status"), answer.json.get("is_enabled")


def test_a_mirror_is_set_up_with_all_settings(
    api: ApiClient, administrator: PanelBrowser, panel_site: MemorySite
) -> None:
    page = administrator.text(HERE)
    assert "Set up a mirror" in page
    assert f'<option value="{ROBOT}">' in page
    assert administrator.submit(EDIT, FIELDS) == HERE
    shown = api.call("GET", MIRROR)
    options = {name: shown["atoll"][name] for name in SETTINGS["atoll"]}
    assert {**{name: shown[name] for name in SETTINGS}, "atoll": options} == SETTINGS
    assert shown["has_external_registry_password"] is True
    row = "SELECT to_jsonb(m) FROM orgmirrorconfig m"
    before = panel_site.database.read(row)
    page = administrator.get(EDIT).text
    assert SECRET not in page
    assert administrator.submit(EDIT, form_fields(page, "settings")) == HERE
    assert panel_site.database.read(row) == before


def test_a_wrong_field_is_named_beside_the_form_with_all_that_was_typed(
    api: ApiClient, administrator: PanelBrowser
) -> None:
    wrong = {
        "external_registry_type": ("docker", "external_registry_type"),
        "external_registry_url": ("https://harbor.example/path", "external_registry_url"),
        "external_namespace": ("../other", "external_namespace"),
        "repository_filters": ("a\npp" * 3000, "repository_filters"),
        "robot_username": (HOSTILE, "robot_username"),
        "visibility": ("secret", "visibility"),
        "sync_interval": ("0", "sync_interval"),
        "sync_start_date": ("", "sync_start_date"),
        "timeout": ("", "skopeo_timeout"),
        "patterns": ("a/b", "atoll.tags"),
        "external_registry_username": ("", "external_registry_password"),
    }
    token = administrator.token(EDIT)
    for field, (value, named) in wrong.items():
        fields = {**FIELDS, field: value}
        answer = administrator.send(EDIT, fields, token=token)
        assert answer.status_code == 400, field
        error = answer.text.partition('id="form-error"')[2].partition("</p>")[0]
        assert f"<p>{named}" in error, (field, error)
        assert SECRET not in answer.text
        assert HOSTILE not in answer.text
        shown = form_fields(answer.text, "settings")
        kept = {name: text.replace("\r\n", "\n") for name, text in fields.items()}
        chosen = {"external_registry_password", "external_registry_type", "visibility"}
        assert {name: shown[name] for name in kept if name not in chosen} == {
            name: text for name, text in kept.items() if name not in chosen
        }
    assert state(api)[0] == 404


def test_discoveries_are_requested_cancelled_and_disabled(
    api: ApiClient, administrator: PanelBrowser
) -> None:
    create(api)
    steps = (
        ("sync", "SYNC_NOW", True),
        ("cancel", "CANCEL", True),
        ("disable", "CANCEL", False),
        ("enable", "CANCEL", True),
    )
    for action, status, enabled in steps:
        assert administrator.submit(HERE, {"action": action}) == HERE
        assert state(api) == (200, status, enabled)


def test_discovered_repositories_are_shown_with_their_states(
    api: ApiClient, administrator: PanelBrowser, panel_site: MemorySite
) -> None:
    create(api)
    discover(panel_site, "app", "web-one")
    panel_site.database.run(
        "UPDATE repomirrorconfig SET sync_status = 'FAIL', status_message = %s"
        " FROM repository r WHERE r.id = repository_id AND r.name = 'app'",
        [HOSTILE],
    )
    text = administrator.text(HERE)
    assert "Failed (1)" in text
    assert f'href="/repository/{NAME}/web-one?tab=mirroring"' in text
    check_escaped(administrator, HERE)
    failed = administrator.text(f"{HERE}&status=FAIL")
    assert ">app<" in failed
    assert ">web-one<" not in failed
    # The settings of such a mirror are those of the organization.
    one = administrator.text(f"/repository/{NAME}/app?tab=mirroring")
    assert f"belongs to that of the organization {NAME}" in one
    assert "Change the settings" not in one
    assert "Sync now" in one


def test_an_open_page_is_sent_again_only_if_a_state_has_changed(
    api: ApiClient, administrator: PanelBrowser, panel_site: MemorySite
) -> None:
    create(api)
    discover(panel_site, "app")
    version = administrator.get(HERE).headers["etag"]
    assert poll(administrator, HERE, version).status_code == 304
    api.call("POST", f"repository/{NAME}/app/mirror/sync-now", status=204)
    changed = poll(administrator, HERE, version)
    assert changed.status_code == 200
    assert "requested" in changed.text


def test_a_plan_and_a_test_of_the_connection_are_shown(
    api: ApiClient, administrator: PanelBrowser
) -> None:
    # Nothing listens on port 1.
    create(api, external_registry_url="https://127.0.0.1:1")
    for action in ("plan", "verify"):
        message = api.call("POST", f"{MIRROR}/{action}")["message"]
        answer = administrator.send(HERE, {"action": action}, token=administrator.token(HERE))
        assert answer.status_code == 200
        assert message in unescape(answer.text)
    assert state(api)[1] == "NEVER_RUN"


def test_a_mirror_is_deleted_with_its_name_and_the_password(
    api: ApiClient, administrator: PanelBrowser
) -> None:
    create(api)
    fields = {"action": "delete", "name": "other"}
    answer = administrator.send(HERE, fields, token=administrator.token(HERE))
    assert f"Type {NAME} to confirm this change." in answer.text
    fields["name"] = NAME
    fresh = administrator.cookies.pop("fresh_login")
    answer = administrator.send(HERE, fields, token=administrator.token(HERE))
    assert "Enter your current password" in answer.text
    administrator.cookies["fresh_login"] = fresh
    assert state(api)[0] == 200
    assert administrator.submit(HERE, {**fields, "current_password": PASSWORD}) == HERE
    assert state(api)[0] == 404


def test_the_tab_has_the_permissions_of_the_api(
    api: ApiClient, browsers: Browsers, panel_site: MemorySite
) -> None:
    create(api)
    for user in (SUPERUSER, ADMINISTRATOR, AUDITOR, WRITER, READER, STRANGER, None):
        expected = ApiClient(panel_site, user).request("GET", MIRROR).status_code
        answer = browsers[user].get(HERE, status=303 if expected == 401 else expected)
        if expected == 200:
            assert ("Sync now" in answer.text) is (user != AUDITOR)
    for action in ("sync", "settings", "delete"):
        forms = {HERE: {**FIELDS, "action": action, "name": NAME}}
        check_forged_forms(browsers, ADMINISTRATOR, forms, lambda: state(api))
        check_refused_users(browsers, forms, {SUPERUSER, ADMINISTRATOR}, lambda: state(api))


def test_the_page_costs_the_same_for_any_number_of_repositories(
    api: ApiClient, administrator: PanelBrowser, panel_site: MemorySite
) -> None:
    create(api)
    costs = []
    for number in (1, 60):
        discover(panel_site, *(f"web-{one:02}" for one in range(number)))
        costs.append(statements(administrator.get(HERE)))
    # An authentication with the roles of the administrator, the mirror, and its repositories.
    assert costs == [3, 3]
    # The list of robots in place of the repositories.
    assert statements(administrator.get(EDIT)) == 3
    assert "page=2" in administrator.text(HERE)
    assert ">web-59<" in administrator.text(f"{HERE}&page=2")
