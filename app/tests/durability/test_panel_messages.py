"""Operators publish and delete messages to all users in the panel, and read the log of all."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .api_client import ApiClient
from .panel_browser import statements
from .panel_forms import (
    HOSTILE,
    Browsers,
    check_escaped,
    check_forged_forms,
    check_refused_users,
    private_repository,
)
from .panel_site import AUDITOR, PRIVATE, READER, STRANGER, make_panel_site
from .sites import SUPERUSER, MemorySite

MESSAGES, LOGS = "/superuser/messages", "/superuser/logs"


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    site = make_panel_site(make_database(), tmp_path)
    private_repository(site, "messages")
    return site


@pytest.fixture
def browsers(site: MemorySite) -> Browsers:
    return Browsers(site)


def contents(site: MemorySite) -> list[str]:
    return [one["content"] for one in ApiClient(site).call("GET", "messages")["messages"]]


def test_a_message_is_published_shown_to_all_and_deleted(
    site: MemorySite, browsers: Browsers
) -> None:
    superuser = browsers[SUPERUSER]
    fields = {"content": f" {HOSTILE}\r\nand more ", "severity": "warning"}
    assert superuser.submit(MESSAGES, fields) == MESSAGES
    assert contents(site) == [f"{HOSTILE}\nand more"]
    check_escaped(superuser, MESSAGES)
    check_escaped(browsers[None], "/")
    for number in range(10):
        superuser.submit(MESSAGES, {"content": f"message {number}.", "severity": "info"})
    assert "message 9." in browsers[READER].text("/")
    for _ in range(11):
        remove = re.search(r'name="remove" value="([^"]+)"', superuser.get(MESSAGES).text)
        assert remove is not None
        superuser.submit(MESSAGES, {"remove": remove[1]})
    assert contents(site) == []


def test_a_message_that_the_api_refuses_is_shown_again(
    site: MemorySite, browsers: Browsers
) -> None:
    superuser = browsers[SUPERUSER]
    token = superuser.token(MESSAGES)
    for fields in ({"content": "", "severity": "info"}, {"content": "kept", "severity": "loud"}):
        answer = superuser.send(MESSAGES, fields, token=token)
        assert answer.status_code == 400
        assert fields["content"] in answer.text
    assert superuser.send(MESSAGES, {"remove": "no-uuid"}, token=token).status_code == 404
    assert contents(site) == []


def test_only_superusers_change_messages_and_only_operators_read_all_logs(
    site: MemorySite, browsers: Browsers
) -> None:
    browsers[SUPERUSER].submit(MESSAGES, {"content": "present", "severity": "info"})
    uuid = ApiClient(site).call("GET", "messages")["messages"][0]["uuid"]
    for page in (MESSAGES, LOGS):
        for user, status in ((None, 303), (STRANGER, 403), (AUDITOR, 200), (SUPERUSER, 200)):
            answer = browsers[user].get(page, status=status)
            assert status != 200 or statements(answer) <= 3
    assert "<textarea" not in browsers[AUDITOR].get(MESSAGES).text
    for fields in ({"remove": uuid}, {"content": "new", "severity": "info"}):
        forms = {MESSAGES: fields}
        check_forged_forms(browsers, SUPERUSER, forms, lambda: contents(site))
        check_refused_users(browsers, forms, {SUPERUSER}, lambda: contents(site))


def test_the_log_has_the_entries_of_all_namespaces(site: MemorySite, browsers: Browsers) -> None:
    ApiClient(site).call("POST", "organization/", {"name": "logged"}, status=201)
    page = browsers[AUDITOR].text(LOGS)
    assert "Created the organization" in page
    assert ">logged<" in page
    change = {"role": "write"}
    ApiClient(site).call("PUT", f"repository/{PRIVATE}/permissions/user/{STRANGER}", change)
    page = browsers[SUPERUSER].text(f"{LOGS}?performer={SUPERUSER}")
    assert f'href="/repository/{PRIVATE}">{PRIVATE}<' in page
    assert "Created the organization" not in browsers[SUPERUSER].text(f"{LOGS}?performer=nobody")
    browsers[SUPERUSER].get(f"{LOGS}?from=yesterday", status=400)
