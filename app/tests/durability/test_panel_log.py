"""The log of repositories, organizations and users in sentences, with the API's permissions."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import atoll
import pytest
from atoll.audit.log import Audit, Entry
from atoll.mirroring import events
from atoll.mirroring.organizations import organization_events
from atoll.names import RepositoryName
from atoll.notifications import events as notifications
from atoll.web.panel.log_sentences import SENTENCES, sentence

from .api_client import ApiClient
from .panel_browser import statements
from .panel_forms import ADMINISTRATOR, HOSTILE, WRITER, Browsers, check_escaped, private_repository
from .panel_site import AUDITOR, READER, STRANGER
from .sites import SUPERUSER, MemorySite

NAME = RepositoryName(SUPERUSER, "logged")
HERE = f"/repository/{NAME}"
GUILD = "logguild"
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
# Statements and methods that write entries, with the literal name of the kind.
_WRITTEN = re.compile(
    r"""(?:\.log|\.entry|\bEntry|\b_log)\(\s*(?:call,\s*)?"([a-z_]+)\""""
    r"""|kind = "([a-z]+_[a-z_]+)" if .* else "([a-z_]+)\""""
    r"""|INSERT INTO logentry .*\nSELECT '([a-z_]+)'"""
)


@pytest.fixture(scope="module")
def browsers(panel_site: MemorySite) -> Browsers:
    private_repository(panel_site, NAME.name)
    ApiClient(panel_site).call("POST", "organization/", {"name": GUILD}, status=201)
    return Browsers(panel_site)


def write(site: MemorySite, *tags: str, kind: str = "delete_tag", days: int = 0) -> None:
    at = datetime.now(UTC) - timedelta(days=days)
    Audit(site.database).write_all(
        [
            Entry(kind, NAME.namespace, NAME.name, WRITER, "192.0.2.1", {"tag": tag}, at)
            for tag in tags
        ]
    )


def test_every_kind_of_entry_has_a_sentence() -> None:
    constants = [
        *(getattr(events, name) for name in ("TAG_SUCCESS", "TAG_FAILED")),
        *(
            event.name
            for name, event in vars(notifications).items()
            if name.startswith("REPO_MIRROR_")
        ),
        *(
            value
            for name, value in vars(organization_events).items()
            if name.startswith(("SYNC_", "REPO_"))
        ),
    ]
    kinds = set(constants)
    for file in Path(atoll.__file__).parent.rglob("*.py"):
        if "cli" not in file.parts:
            kinds |= {one for found in _WRITTEN.findall(file.read_text()) for one in found if one}
    assert {"push_repo", "delete_repo", "org_create_team", "change_replication_policy"} <= kinds
    assert kinds == SENTENCES.keys()


@pytest.mark.parametrize(
    ("kind", "metadata", "text"),
    [
        ("push_repo", {"tag": "v1", "manifest_digest": DIGEST}, "Pushed the tag v1"),
        ("push_repo", {"manifest_digest": DIGEST}, "Pushed the manifest 0123456789ab"),
        ("org_change", {"email": None}, "Changed the organization"),
        ("delete_tag", {"tag": "x" * 200}, f"Deleted the tag {'x' * 80}…"),
        ("delete_tag", {}, "Delete tag"),
        ("from_quay", {"{tag}": "{0}"}, "From quay"),
        ("create_repo", {"repo": "{repo.x}"}, "Created the repository {repo.x}"),
    ],
)
def test_a_sentence_names_what_the_entry_has(
    kind: str, metadata: dict[str, str | None], text: str
) -> None:
    assert sentence(kind, metadata) == text


def test_the_log_of_a_repository_is_paged_and_filtered(
    panel_site: MemorySite, browsers: Browsers
) -> None:
    administrator = browsers[ADMINISTRATOR]
    write(panel_site, *(f"old{number:02}" for number in range(25)))
    write(panel_site, "later", days=-40)
    page = f"{HERE}?tab=logs&performer={WRITER}"
    first = administrator.text(page)
    assert [f"Deleted the tag old{number:02}" in first for number in (24, 5, 4)] == [
        True, True, False,
    ]  # fmt: skip
    following = re.search(r'href="([^"]+)" rel="next"', first)
    assert following is not None
    second = administrator.text(following[1])
    assert "Deleted the tag old04" in second
    assert "Deleted the tag old05" not in second
    assert 'rel="next"' not in second
    assert "Deleted the tag later" not in first + second
    day = (datetime.now(UTC) + timedelta(days=40)).date()
    selected = administrator.text(f"{HERE}?tab=logs&from={day}&until={day}")
    assert "Deleted the tag later" in selected
    assert "old24" not in selected
    assert f'value="{day}"' in selected
    assert "Nothing in this period" in administrator.text(f"{HERE}?tab=logs&performer=nobody")


def test_details_of_entries_are_shown_and_escaped(
    panel_site: MemorySite, browsers: Browsers
) -> None:
    write(panel_site, HOSTILE)
    Audit(panel_site.database).write(
        Entry(HOSTILE, NAME.namespace, NAME.name, HOSTILE, HOSTILE, {HOSTILE: HOSTILE})
    )
    check_escaped(browsers[ADMINISTRATOR], f"{HERE}?tab=logs")
    check_escaped(browsers[SUPERUSER], f"/user/{SUPERUSER}?tab=logs")
    assert "192.0.2.1" in browsers[ADMINISTRATOR].text(f"{HERE}?tab=logs")
    hostile = "%3Cscript%3Ealert(1)%3C/script%3E"
    check = browsers[ADMINISTRATOR].get(f"{HERE}?tab=logs&performer={hostile}").text
    assert "<script>alert" not in check
    for wrong in (f"from={hostile}", "from=2026-13-01", "until=1-1-1", "next_page=x"):
        browsers[ADMINISTRATOR].get(f"{HERE}?tab=logs&{wrong}", status=400)


@pytest.mark.parametrize(
    ("page", "operation"),
    [
        (HERE, f"{HERE[1:]}/logs"),
        (f"/organization/{GUILD}", f"organization/{GUILD}/logs"),
        ("/organization/absent", "organization/absent/logs"),
    ],
)
def test_a_log_is_shown_exactly_if_the_api_permits_it(
    panel_site: MemorySite, browsers: Browsers, page: str, operation: str
) -> None:
    for user in (None, SUPERUSER, ADMINISTRATOR, WRITER, READER, STRANGER, AUDITOR):
        status = ApiClient(panel_site, user).request("GET", operation).status_code
        answer = browsers[user].get(f"{page}?tab=logs", status=303 if status == 401 else status)
        if status == 200:
            assert statements(answer) <= 3
    assert "tab=logs" not in browsers[READER].text(HERE)
    assert "tab=logs" in browsers[ADMINISTRATOR].text(HERE)


def test_users_read_only_their_own_log(panel_site: MemorySite, browsers: Browsers) -> None:
    write(panel_site, "mine")
    page = browsers[SUPERUSER].get(f"/user/{SUPERUSER}?tab=logs")
    assert "Deleted the tag mine" in page.text
    assert f'href="{HERE}"' in page.text
    assert statements(page) <= 3
    browsers[READER].get(f"/user/{READER}?tab=logs")
    browsers[READER].get(f"/user/{SUPERUSER}?tab=logs", status=403)
    browsers[None].get(f"/user/{SUPERUSER}?tab=logs", status=303)
