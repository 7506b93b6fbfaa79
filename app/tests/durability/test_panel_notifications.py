"""Administrators add, test, enable and delete notifications of a repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atoll.names import RepositoryName

from ..smtp_server import mail_server
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
    private_repository,
)
from .panel_site import AUDITOR, PRIVATE, READER, STRANGER, make_panel_site
from .sites import SUPERUSER, MemorySite

NAME = RepositoryName(SUPERUSER, "notifying")
HERE = f"/repository/{NAME}"
TAB = f"{HERE}?tab=notifications"
NEW = f"{HERE}/notifications/new"
WEBHOOK = {"event": "repo_push", "method": "webhook", "url": "https://hooks.example.com/a"}


@pytest.fixture(scope="module")
def browsers(panel_site: MemorySite) -> Browsers:
    private_repository(panel_site, NAME.name)
    return Browsers(panel_site)


@pytest.fixture
def administrator(browsers: Browsers) -> PanelBrowser:
    return browsers[ADMINISTRATOR]


@pytest.fixture
def uuid(panel_site: MemorySite) -> str:
    """A notification that is disabled after failures."""
    body = {"event": "repo_push", "method": "slack", "config": {"url": WEBHOOK["url"]}}
    created = ApiClient(panel_site).call("POST", f"{HERE[1:]}/notification/", body, status=201)
    panel_site.database.run(
        "UPDATE repositorynotification SET number_of_failures = 3 WHERE uuid = %s RETURNING id",
        [created["uuid"]],
    )
    return str(created["uuid"])


def notifications(site: MemorySite) -> list[dict[str, Any]]:
    return list(ApiClient(site).call("GET", f"{HERE[1:]}/notification/")["notifications"])


def queued(site: MemorySite, uuid: str) -> int:
    return len(
        site.database.run(
            "SELECT d.id FROM notificationdelivery d"
            " JOIN repositorynotification n ON n.id = d.notification_id WHERE n.uuid = %s",
            [uuid],
        )
    )


def found(site: MemorySite, uuid: str) -> dict[str, Any] | None:
    return next((one for one in notifications(site) if one["uuid"] == uuid), None)


@pytest.mark.parametrize(
    ("fields", "config"),
    [
        (WEBHOOK, {"url": WEBHOOK["url"]}),
        ({**WEBHOOK, "method": "slack"}, {"url": WEBHOOK["url"]}),
        (
            {
                "event": "repo_push",
                "method": "quay_notification",
                "target_kind": "user",
                "target": SUPERUSER,
            },
            {"target": {"kind": "user", "name": SUPERUSER}},
        ),
    ],
)
def test_a_notification_is_added_by_the_form_of_its_method(
    panel_site: MemorySite,
    administrator: PanelBrowser,
    fields: dict[str, str],
    config: dict[str, Any],
) -> None:
    page = f"{NEW}?method={fields['method']}"
    for name in fields.keys() - {"method"}:
        assert f'name="{name}"' in administrator.text(page)
    title = f"By {fields['method']} {HOSTILE}"
    assert administrator.submit(NEW, {**fields, "title": title}, page=page) == TAB
    last = notifications(panel_site)[-1]
    assert (last["title"], last["method"], last["config"]) == (title, fields["method"], config)
    assert title in administrator.text(TAB)
    check_escaped(administrator, TAB)


def test_what_the_api_refuses_is_shown_in_the_form(
    panel_site: MemorySite, administrator: PanelBrowser
) -> None:
    before = notifications(panel_site)
    for wrong, text in (
        ({"url": f"https://{HOSTILE}/"}, ""),
        ({"url": ""}, "config.url"),
        ({"event": "absent"}, "event"),
        ({"method": "email", "email": "ops@example.com"}, "FEATURE_MAILING"),
        ({"method": "quay_notification", "target_kind": "user", "target": STRANGER}, STRANGER),
    ):
        sent = {**WEBHOOK, **wrong}
        answer = administrator.send(NEW, sent, token=administrator.token(NEW))
        assert answer.status_code == 400
        assert 'id="form-error"' in answer.text
        assert text in answer.text
        assert "<script>alert" not in answer.text
    administrator.get(f"{NEW}?method=%3Cscript%3E", status=400)
    assert notifications(panel_site) == before


def test_a_disabled_notification_is_enabled_tested_and_deleted(
    panel_site: MemorySite, administrator: PanelBrowser, uuid: str
) -> None:
    path = f"{HERE}/notifications"
    assert "disabled after failures" in administrator.text(TAB)
    assert administrator.submit(path, {"uuid": uuid, "action": "enable"}, page=TAB) == TAB
    assert (found(panel_site, uuid) or {})["number_of_failures"] == 0
    done = administrator.submit(path, {"uuid": uuid, "action": "test"}, page=TAB)
    assert "A test was queued" in administrator.text(done)
    assert queued(panel_site, uuid) == 1
    again = {"uuid": uuid, "action": "test"}
    assert administrator.send(path, again, token=administrator.token(TAB)).status_code == 429
    assert administrator.submit(path, {"uuid": uuid, "action": "delete"}, page=TAB) == TAB
    assert found(panel_site, uuid) is None
    for wrong, status in (
        ({"uuid": uuid, "action": "delete"}, 404),
        ({"uuid": HOSTILE, "action": "test"}, 404),
        ({"uuid": uuid, "action": "absent"}, 400),
    ):
        answer = administrator.send(path, wrong, token=administrator.token(TAB))
        assert answer.status_code == status
        assert "<script>alert" not in answer.text


def test_the_owner_of_an_address_is_asked_to_confirm_it(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    with mail_server() as mails:
        changes = {
            "FEATURE_MAILING": True,
            "MAIL_SERVER": "127.0.0.1",
            "MAIL_PORT": mails.port,
            "MAIL_USE_TLS": False,
            "MAIL_DEFAULT_SENDER": "registry@example.com",
        }
        browser = PanelBrowser(make_panel_site(make_database(), tmp_path, changes), SUPERUSER)
        path = f"/repository/{PRIVATE}/notifications/new"
        fields = {"event": "repo_push", "method": "email", "email": "ops@example.org"}
        token = browser.token(f"{path}?method=email")
        answer = browser.send(path, fields, token=token)
        assert answer.status_code == 400
        assert 'value="ops@example.org"' in answer.text
        done = browser.submit(path, {**fields, "confirm": "true"}, page=f"{path}?method=email")
        assert "A link was sent" in browser.text(done)
        assert mails.recipients == [["ops@example.org"]]


def test_forms_of_notifications_need_the_token_of_their_session(
    panel_site: MemorySite, browsers: Browsers, uuid: str
) -> None:
    for action in ("test", "enable", "delete"):
        forms = {NEW: WEBHOOK, f"{HERE}/notifications": {"uuid": uuid, "action": action}}
        check_forged_forms(browsers, ADMINISTRATOR, forms, lambda: notifications(panel_site))


def test_forms_of_notifications_need_admin_permission(
    panel_site: MemorySite, browsers: Browsers, uuid: str
) -> None:
    for action in ("enable", "delete"):
        check_refused_users(
            browsers,
            {NEW: WEBHOOK, f"{HERE}/notifications": {"uuid": uuid, "action": action}},
            {SUPERUSER, ADMINISTRATOR},
            lambda: notifications(panel_site),
        )
    browsers[WRITER].get(NEW, status=403)


def test_notifications_are_shown_exactly_if_the_api_permits_it(
    panel_site: MemorySite, browsers: Browsers
) -> None:
    for user in (None, SUPERUSER, ADMINISTRATOR, WRITER, READER, STRANGER, AUDITOR):
        path = f"{HERE[1:]}/notification/"
        status = ApiClient(panel_site, user).request("GET", path).status_code
        answer = browsers[user].get(TAB, status=303 if status == 401 else status)
        if status == 200:
            assert statements(answer) <= 3
