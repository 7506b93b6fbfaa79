"""Administrators set up, watch and change the mirror of a repository in the panel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from atoll.names import RepositoryName

from ..upstream.certificates import PrivateCa
from ..upstream.clients import USER
from ..upstream.fault_upstream import FaultUpstream, Oddities
from .api_client import PASSWORD, ApiClient
from .mirrored import ROBOT, make_robot
from .mirrors import add_run, add_task
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
    private_repository,
)
from .panel_site import AUDITOR, READER, STRANGER
from .sites import SUPERUSER, MemorySite

NAME = RepositoryName(SUPERUSER, "mirrored")
MIRROR = f"repository/{NAME}/mirror"
HERE = f"/repository/{NAME}?tab=mirroring"
EDIT = f"{HERE}&edit=true"
SECRET = "sesame: 100 %"
# All settings that the form has.
SETTINGS: dict[str, Any] = {
    "is_enabled": False,
    "external_reference": "registry.example/team/app",
    "external_registry_username": "reader",
    "external_registry_config": {
        "verify_tls": False,
        "proxy": {
            "http_proxy": None,
            "https_proxy": "http://john:proxy%20secret@proxy.example:3128",
            "no_proxy": ".internal.example",
        },
    },
    "sync_interval": 5400,
    "sync_start_date": "2026-01-31T23:30:00Z",
    "robot_username": ROBOT,
    "root_rule": {"rule_kind": "tag_glob_csv", "rule_value": ["3.*", "latest"]},
    "skopeo_timeout_interval": 600,
    "architecture_filter": ["amd64", "s390x"],
    "atoll": {
        "exclude": ["*-rc*"],
        "semver": [">=3.1 <4"],
        "newest": 7,
        "newest_by": "created",
        "max_age": 172_800,
        "hours": "22:00-06:00",
        "referrers": ["application/spdx+json"],
        "rollback": False,
        "delete_after": 0,
        "delete_limit": 0.35,
        "immutable_tags": ["3.1.*"],
    },
}
# The same as a user types it.
FIELDS = {
    "action": "settings",
    "external_reference": " registry.example/team/app",
    "external_registry_username": "reader",
    "external_registry_password": SECRET,
    "https_proxy": "http://john:proxy%20secret@proxy.example:3128",
    "no_proxy": ".internal.example",
    "sync_interval": "90",
    "sync_interval_unit": "60",
    "sync_start_date": "2026-01-31T23:30",
    "robot_username": ROBOT,
    "patterns": "3.*\r\nlatest\r\n",
    "timeout": "10",
    "timeout_unit": "60",
    "architecture_amd64": "true",
    "architecture_s390x": "true",
    "exclude": "*-rc*",
    "semver": ">=3.1 <4",
    "newest": "7",
    "newest_by": "created",
    "max_age": "2",
    "max_age_unit": "86400",
    "hours": "22:00-06:00",
    "referrers": "types",
    "referrer_types": "application/spdx+json",
    "rollback": "false",
    "delete_after": "0",
    "delete_after_unit": "86400",
    "delete_limit": "35",
    "immutable_tags": "3.1.*",
}


@pytest.fixture(scope="module")
def browsers(panel_site: MemorySite) -> Browsers:
    private_repository(panel_site, NAME.name)
    make_robot(panel_site)
    return Browsers(panel_site)


@pytest.fixture
def api(panel_site: MemorySite, browsers: Browsers) -> Iterator[ApiClient]:
    """A client of the API; the repository is no mirror."""
    del browsers
    client = ApiClient(panel_site)
    yield client
    client.request("DELETE", MIRROR)


@pytest.fixture
def administrator(browsers: Browsers) -> PanelBrowser:
    return browsers[ADMINISTRATOR]


def create(api: ApiClient, **changes: Any) -> None:
    body = {**SETTINGS, "external_registry_password": SECRET, **changes}
    api.call("POST", MIRROR, body, status=201)


def settings(api: ApiClient) -> dict[str, Any]:
    """Return the settings of the mirror, as in SETTINGS."""
    shown = api.call("GET", MIRROR)
    options = {name: shown["atoll"][name] for name in SETTINGS["atoll"]}
    return {**{name: shown[name] for name in SETTINGS}, "atoll": options}


def mirror_id(site: MemorySite) -> int:
    found: int = site.database.read(
        "SELECT m.id FROM repomirrorconfig m JOIN repository r ON r.id = m.repository_id"
        " WHERE r.name = %s",
        [NAME.name],
    )[0][0]
    return found


def set_columns(site: MemorySite, assignments: str) -> None:
    site.database.run(f"UPDATE repomirrorconfig SET {assignments} WHERE id = %s", [mirror_id(site)])


def state(api: ApiClient) -> tuple[Any, ...]:
    answer = api.request("GET", MIRROR)
    return answer.status_code, answer.json.get("sync_status"), answer.json.get("is_enabled")


def test_a_mirror_is_set_up_with_all_settings(
    api: ApiClient, browsers: Browsers, panel_site: MemorySite
) -> None:
    administrator = browsers[ADMINISTRATOR]
    assert "Set up a mirror" in administrator.text(HERE)
    # Only its owner may list the robots of the namespace.
    assert f'<option value="{ROBOT}">' not in administrator.text(HERE)
    assert f'<option value="{ROBOT}">' in browsers[SUPERUSER].text(HERE)
    assert administrator.submit(EDIT, FIELDS) == HERE
    hidden = "http://john:********@proxy.example:3128"
    expected = {**SETTINGS["external_registry_config"]["proxy"], "https_proxy": hidden}
    shown = settings(api)
    assert shown["external_registry_config"].pop("proxy") == expected
    assert shown["external_registry_config"] == {"verify_tls": False}
    assert {**shown, "external_registry_config": None} == {
        **SETTINGS,
        "external_registry_config": None,
    }
    stored = panel_site.graph.mirrors.settings(panel_site.graph.mirrors.find(NAME)).access
    assert stored.credentials is not None
    assert stored.credentials.password == SECRET


def test_a_form_that_is_saved_unchanged_changes_nothing(
    api: ApiClient, administrator: PanelBrowser, panel_site: MemorySite
) -> None:
    create(api)
    row = "SELECT to_jsonb(m) FROM repomirrorconfig m WHERE id = %s"
    before = panel_site.database.read(row, [mirror_id(panel_site)])
    page = administrator.get(EDIT).text
    assert SECRET not in page
    assert "proxy%20secret" not in page
    assert administrator.submit(EDIT, form_fields(page, "settings")) == HERE
    assert panel_site.database.read(row, [mirror_id(panel_site)]) == before


@pytest.mark.parametrize("present", [False, True], ids=["new", "changed"])
def test_a_wrong_field_is_named_beside_the_form_with_all_that_was_typed(
    api: ApiClient, administrator: PanelBrowser, *, present: bool
) -> None:
    if present:
        create(api)
    before = state(api)
    wrong = {
        "external_reference": ("https://registry.example/x", "external_reference"),
        "external_registry_username": ("", "external_registry_password"),
        "https_proxy": ("http://", "external_registry_config.proxy"),
        "ca_certificate": ("no certificate", "atoll.ca_certificate"),
        "sync_interval": ("often", "sync_interval"),
        "sync_interval_unit": ("7", "sync_interval_unit"),
        "sync_start_date": ("tomorrow", "sync_start_date"),
        "robot_username": ("admin+absent", "robot_username"),
        "patterns": ("", "root_rule.rule_value"),
        "timeout": ("1", "skopeo_timeout_interval"),
        "exclude": ("a/b", "atoll.exclude"),
        "semver": ("none", "atoll.semver"),
        "newest": ("0", "atoll.newest"),
        "newest_by": ("size", "atoll.newest_by"),
        "max_age": ("-1", "atoll.max_age"),
        "hours": ("at night", "atoll.hours"),
        "referrers": ("some", "atoll.referrers"),
        "rollback": ("perhaps", "atoll.rollback"),
        "delete_after": ("x", "atoll.delete_after"),
        "delete_limit": ("101", "atoll.delete_limit"),
        "immutable_tags": ("a/b", "atoll.immutable_tags"),
    }
    token = administrator.token(EDIT)
    for field, (value, named) in wrong.items():
        fields = {**FIELDS, "no_proxy": HOSTILE, field: value}
        answer = administrator.send(EDIT, fields, token=token)
        assert answer.status_code == 400, field
        error = answer.text.partition('id="form-error"')[2].partition("</p>")[0]
        assert f"<p>{named}" in error, (field, error)
        assert SECRET not in answer.text
        assert HOSTILE not in answer.text
        shown = form_fields(answer.text, "settings")
        kept = {name: text.replace("\r\n", "\n") for name, text in fields.items()}
        # The choices of a list are all that it can show.
        chosen = {"external_registry_password", "newest_by", "referrers", "rollback"}
        chosen |= {"sync_interval_unit"}
        assert (
            shown.items()
            >= {name: text for name, text in kept.items() if name not in chosen}.items()
        )
    assert state(api) == before


def test_runs_are_requested_cancelled_and_disabled(
    api: ApiClient, administrator: PanelBrowser
) -> None:
    create(api, is_enabled=True)
    steps = (
        ("sync", "SYNC_NOW", True),
        ("cancel", "CANCEL", True),
        ("disable", "CANCEL", False),
        ("enable", "CANCEL", True),
    )
    for action, status, enabled in steps:
        assert administrator.submit(HERE, {"action": action}) == HERE
        assert state(api) == (200, status, enabled)
    token = administrator.token(HERE)
    assert administrator.send(HERE, {"action": "explode"}, token=token).status_code == 400
    away = {"action": "sync", "next": "https://evil.example/"}
    assert administrator.submit(HERE, away) == HERE


def test_the_page_shows_the_run_and_each_tag_with_its_reason(
    api: ApiClient, administrator: PanelBrowser, panel_site: MemorySite
) -> None:
    create(api, is_enabled=True)
    set_columns(
        panel_site,
        "sync_status = 'FAIL', reason = 'auth_failed', retries_remaining = 2,"
        " next_at = '2031-02-03T04:05Z'",
    )
    text = administrator.text(HERE)
    assert "the upstream refused the credentials, or requires some" in text
    assert "2 retries left" in text
    assert "2031-02-03 04:05 UTC" in text
    run = add_run(panel_site.database, mirror_id(panel_site), tags_total=7, tags_copied=3)
    add_task(panel_site.database, run, "v1")
    add_task(panel_site.database, run, "v2", "failed")
    panel_site.database.run(
        "UPDATE mirrortask SET last_error = %s WHERE run_id = %s AND tag = 'v2'", [HOSTILE, run]
    )
    text = administrator.text(HERE)
    assert "3 of 7 tags" in text
    assert 'aria-label="Tags of the run of admin/mirrored"' in text
    check_escaped(administrator, HERE)
    for status, shown, hidden in (("pending", ">v1<", ">v2<"), ("failed", ">v2<", ">v1<")):
        text = administrator.text(f"{HERE}&state={status}")
        assert shown in text
        assert hidden not in text
    administrator.get(f"{HERE}&state=lost", status=400)


def test_an_open_page_is_sent_again_only_if_the_run_has_changed(
    api: ApiClient, administrator: PanelBrowser, panel_site: MemorySite
) -> None:
    create(api)
    run = add_run(panel_site.database, mirror_id(panel_site), tags_total=2)
    add_task(panel_site.database, run, "v1")
    answer = administrator.get(HERE)
    version = answer.headers["etag"]
    assert f"data-version={version}" in answer.text
    unchanged = poll(administrator, HERE, version)
    assert (unchanged.status_code, unchanged.text, statements(unchanged)) == (304, "", 1)
    panel_site.database.run(
        "UPDATE mirrorrun SET tags_copied = 1 WHERE id = %s RETURNING id", [run]
    )
    changed = poll(administrator, HERE, version)
    assert changed.status_code == 200
    assert "1 of 2 tags" in changed.text


def test_deletions_are_confirmed_with_the_password(
    api: ApiClient, administrator: PanelBrowser, panel_site: MemorySite
) -> None:
    create(api)
    confirm = {"action": "confirm"}
    answer = administrator.send(HERE, confirm, token=administrator.token(HERE))
    assert "refused no deletions" in answer.text
    set_columns(panel_site, "sync_status = 'FAIL', reason = 'too_many_deletions'")
    fresh = administrator.cookies.pop("fresh_login")
    answer = administrator.send(HERE, confirm, token=administrator.token(HERE))
    assert answer.status_code == 400
    assert "Enter your current password" in answer.text
    assert 'name="current_password"' in answer.text
    administrator.cookies["fresh_login"] = fresh
    assert administrator.submit(HERE, {**confirm, "current_password": PASSWORD}) == HERE
    assert state(api)[1] == "SYNC_NOW"


def test_a_mirror_is_deleted_with_its_name(api: ApiClient, administrator: PanelBrowser) -> None:
    create(api)
    fields = {"action": "delete", "name": "admin/other"}
    answer = administrator.send(HERE, fields, token=administrator.token(HERE))
    assert "Type admin/mirrored to confirm this change." in answer.text
    assert state(api)[0] == 200
    assert administrator.submit(HERE, {**fields, "name": str(NAME)}) == HERE
    assert state(api)[0] == 404


@pytest.fixture
def upstream(ca: PrivateCa) -> Iterator[FaultUpstream]:
    registry = FaultUpstream(ca.server_context(), Oddities(authentication="basic"))
    registry.users[USER.username] = USER.password
    with registry.running() as running:
        for tag in ("v1", "v2"):
            running.repository().add_image(tag)
        yield running


def test_a_plan_and_a_test_of_the_connection_are_shown(
    api: ApiClient, administrator: PanelBrowser, ca: PrivateCa, upstream: FaultUpstream
) -> None:
    create(
        api,
        external_reference=f"{upstream.host}/team/app",
        external_registry_username=USER.username,
        external_registry_password=USER.password,
        external_registry_config={},
        root_rule={"rule_kind": "tag_glob_csv", "rule_value": ["v1"]},
        atoll={"ca_certificate": ca.certificate.read_text()},
        architecture_filter=[],
    )
    token = administrator.token(HERE)
    answer = administrator.send(HERE, {"action": "verify"}, token=token)
    assert "the upstream has 2 tags" in answer.text
    answer = administrator.send(HERE, {"action": "plan"}, token=token)
    assert answer.status_code == 200
    assert "selected: 1; to copy: 1, to delete: 0, unchanged: 0" in answer.text
    assert '<span class="name">v1</span>' in answer.text
    assert state(api)[1] == "NEVER_RUN"
    api.call("PUT", MIRROR, {"external_registry_username": None}, status=201)
    answer = administrator.send(HERE, {"action": "plan"}, token=token)
    assert "A run would fail: " in answer.text


def test_the_tab_is_shown_exactly_if_the_api_shows_the_mirror(
    api: ApiClient, browsers: Browsers, panel_site: MemorySite
) -> None:
    create(api)
    for user in (SUPERUSER, ADMINISTRATOR, AUDITOR, WRITER, READER, STRANGER, None):
        expected = ApiClient(panel_site, user).request("GET", MIRROR).status_code
        answer = browsers[user].get(HERE, status=303 if expected == 401 else expected)
        if expected == 200:
            assert ("Sync now" in answer.text) is (user != AUDITOR)
            assert SECRET not in answer.text


def test_only_administrators_change_a_mirror_and_only_with_their_token(
    api: ApiClient, browsers: Browsers
) -> None:
    create(api)
    for action in ("sync", "disable", "plan", "settings", "delete"):
        forms = {HERE: {**FIELDS, "action": action, "name": str(NAME)}}
        check_forged_forms(browsers, ADMINISTRATOR, forms, lambda: state(api))
        check_refused_users(browsers, forms, {SUPERUSER, ADMINISTRATOR}, lambda: state(api))


def test_a_superuser_sees_and_runs_mirrors_of_repositories_of_others(
    browsers: Browsers, panel_site: MemorySite
) -> None:
    name = RepositoryName(STRANGER, "own")
    panel_site.graph.repositories.create(name, "private")
    make_robot(panel_site, f"{STRANGER}+mirror")
    api = ApiClient(panel_site, STRANGER)
    body = {**SETTINGS, "robot_username": f"{STRANGER}+mirror"}
    api.call("POST", f"repository/{name}/mirror", body, status=201)
    browser, path = browsers[SUPERUSER], f"/repository/{name}?tab=mirroring"
    browser.get(f"/repository/{name}", status=403)
    assert browser.submit(path, {"action": "sync"}) == path
    assert api.call("GET", f"repository/{name}/mirror")["sync_status"] == "SYNC_NOW"
    api.call("DELETE", f"repository/{name}/mirror", status=204)


def test_the_page_costs_the_same_for_any_number_of_tags(
    api: ApiClient, administrator: PanelBrowser, panel_site: MemorySite
) -> None:
    create(api)
    run = add_run(panel_site.database, mirror_id(panel_site))
    costs = []
    for first in (0, 1):
        for number in range(first, 60 * first + 1):
            add_task(panel_site.database, run, f"v{number}")
        costs.append(statements(administrator.get(HERE)))
    # An authentication, the mirror with its run, and the tags.
    assert costs == [3, 3]
    assert statements(administrator.get(EDIT)) <= 3
    assert "next_page=" in administrator.text(HERE)
