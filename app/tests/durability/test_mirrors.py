"""Mirrors are created, changed and deleted in one step, and their runs requested and cancelled."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from atoll.auth import users
from atoll.mirroring.errors import (
    InvalidMirror,
    MirrorExists,
    MirrorInactive,
    MirrorUnknown,
    NothingToConfirm,
)
from atoll.mirroring.mirror_records import Mirror
from atoll.mirroring.mirrors import MirrorChange
from atoll.names import RepositoryName
from atoll.registry.errors import RepositoryUnknown
from atoll.upstream.credentials import Credentials

from .mirrored import ROBOT, START, make_mirror, make_robot, mirrors, new_mirror
from .sites import SUPERUSER, MemorySite

APP = RepositoryName(SUPERUSER, "copy")
CREDENTIALS: MirrorChange = {
    "external_registry_username": "reader",
    "external_registry_password": "sesame",
}


def test_a_new_mirror_has_its_settings_and_may_be_pushed_to_by_its_robot(
    site: MemorySite,
) -> None:
    make_mirror(site, APP, {**CREDENTIALS, "options": {"newest": 3, "delete_after": 0}})
    mirror = mirrors(site).find(APP)
    settings = mirrors(site).settings(mirror)
    assert str(settings.reference) == "registry.example.com/team/app"
    assert settings.access.credentials == Credentials("reader", "sesame")
    assert settings.access.verify_tls
    assert (settings.rule.include, settings.rule.newest) == (("*",), 3)
    assert settings.delete_after == timedelta(0)
    assert settings.referrers == "all"
    assert (mirror.status, mirror.robot) == ("NEVER_RUN", ROBOT)
    assert mirror.repository_state == "MIRROR"
    assert mirror.row["next_at"] == START
    assert _role_of_robot(site) == "write"


def test_a_password_is_encrypted_for_its_mirror(site: MemorySite) -> None:
    make_mirror(site, APP, CREDENTIALS)
    stored = _column(site, "external_registry_password")
    assert "sesame" not in stored


def test_a_mirror_without_interval_has_no_due_date(site: MemorySite) -> None:
    make_mirror(site, APP, {"sync_interval": 0})
    assert mirrors(site).find(APP).row["next_at"] is None


def test_a_repository_has_one_mirror(site: MemorySite) -> None:
    make_mirror(site, APP)
    with pytest.raises(MirrorExists):
        mirrors(site).create(APP, new_mirror())
    assert [one.repository for one in mirrors(site).list()] == [APP]


def test_a_repository_is_required(site: MemorySite) -> None:
    make_robot(site)
    with pytest.raises(RepositoryUnknown):
        mirrors(site).create(APP, new_mirror())
    for act in (mirrors(site).find, mirrors(site).delete, mirrors(site).request_sync):
        with pytest.raises(MirrorUnknown):
            act(APP)


@pytest.mark.parametrize("robot", ["other+mirror", SUPERUSER, f"{SUPERUSER}+unknown"])
def test_a_robot_of_the_namespace_is_required(site: MemorySite, robot: str) -> None:
    site.graph.repositories.create(APP, "private")
    users.create_user(site.database, "other", None, "a password")
    make_robot(site)
    make_robot(site, "other+mirror")
    with pytest.raises(InvalidMirror, match="robot_username"):
        mirrors(site).create(APP, {**new_mirror(), "robot_username": robot})
    assert site.graph.access.grants(SUPERUSER, [APP])[0].writable
    make_mirror(site, RepositoryName(SUPERUSER, "second"))
    with pytest.raises(InvalidMirror, match="robot_username"):
        mirrors(site).change(RepositoryName(SUPERUSER, "second"), {"robot_username": robot})


INVALID: list[tuple[MirrorChange, str]] = [
    ({"external_reference": "127.0.0.2/team/app"}, "external_reference"),
    ({"external_reference": "metadata.internal/team/app"}, "external_reference"),
    ({"root_rule": [" ,"]}, "root_rule.rule_value"),
    ({"external_registry_password": "sesame"}, "external_registry_password"),
    (
        {"external_registry_username": None, "external_registry_password": "sesame"},
        "external_registry_password",
    ),
    (
        {"external_registry_config": {"proxy": {"https_proxy": "http://10.0.0.1:3128"}}},
        "external_registry_config.proxy",
    ),
]


@pytest.mark.parametrize(("wrong", "field"), INVALID)
def test_an_invalid_setting_changes_nothing(
    site: MemorySite, wrong: MirrorChange, field: str
) -> None:
    make_mirror(site, APP, CREDENTIALS)
    before = mirrors(site).find(APP)
    with pytest.raises(InvalidMirror) as caught:
        mirrors(site).change(APP, {"sync_interval": 60, "is_enabled": False, **wrong})
    assert caught.value.field == field
    assert "10.0.0.1" not in str(caught.value)
    assert mirrors(site).find(APP) == before


@pytest.mark.parametrize(("wrong", "field"), INVALID)
def test_an_invalid_setting_creates_nothing(
    site: MemorySite, wrong: MirrorChange, field: str
) -> None:
    with pytest.raises(InvalidMirror) as caught:
        make_mirror(site, APP, wrong)
    assert caught.value.field == field
    with pytest.raises(MirrorUnknown):
        mirrors(site).find(APP)


def test_a_change_keeps_all_other_settings(site: MemorySite) -> None:
    make_mirror(
        site,
        APP,
        {
            **CREDENTIALS,
            "external_registry_config": {"verify_tls": False},
            "options": {"newest": 3, "exclude": ["*-rc*"]},
        },
    )
    make_robot(site, f"{SUPERUSER}+second")
    before, after = mirrors(site).change(
        APP,
        {
            **CREDENTIALS,
            "robot_username": f"{SUPERUSER}+second",
            "external_registry_config": {"proxy": {"https_proxy": "http://proxy.example.com:3128"}},
            "options": {"newest": None, "semver": ["1.x"]},
            "architecture_filter": ["amd64"],
        },
    )
    assert (before.robot, after.robot) == (ROBOT, f"{SUPERUSER}+second")
    settings = mirrors(site).settings(after)
    assert settings.access.credentials == Credentials("reader", "sesame")
    assert not settings.access.verify_tls
    assert settings.access.proxies is not None
    assert settings.architectures == ("amd64",)
    assert after.row["options"] == {"exclude": ["*-rc*"], "semver": ["1.x"]}
    assert after.row["next_at"] == before.row["next_at"]


ELSEWHERE: list[MirrorChange] = [
    {"external_reference": "other.example.com/team/app"},
    {"external_registry_config": {"proxy": {"https_proxy": "http://proxy.example.com:3128"}}},
    {"external_registry_username": "another", "external_reference": "other.example.com/app"},
]


@pytest.mark.parametrize("change", ELSEWHERE)
def test_a_stored_password_is_not_sent_to_another_server(
    site: MemorySite, change: MirrorChange
) -> None:
    make_mirror(site, APP, CREDENTIALS)
    before = mirrors(site).find(APP)
    with pytest.raises(InvalidMirror) as caught:
        mirrors(site).change(APP, change)
    assert caught.value.field == "external_registry_password"
    assert mirrors(site).find(APP) == before
    mirrors(site).change(APP, {**change, **CREDENTIALS})
    assert mirrors(site).settings(mirrors(site).find(APP)).access.credentials is not None


def test_another_repository_of_the_same_server_gets_the_stored_password(site: MemorySite) -> None:
    make_mirror(site, APP, CREDENTIALS)
    _, after = mirrors(site).change(APP, {"external_reference": "registry.example.com/team/other"})
    assert mirrors(site).settings(after).access.credentials == Credentials("reader", "sesame")


def test_credentials_are_removed_with_their_user_name(site: MemorySite) -> None:
    make_mirror(site, APP, CREDENTIALS)
    site.database.run("UPDATE repomirrorconfig SET refusals = 3")
    _, after = mirrors(site).change(APP, {"external_registry_username": None})
    assert mirrors(site).settings(after).access.credentials is None
    assert after.row["external_registry_password"] is None
    assert after.row["refusals"] == 0


def test_other_changes_do_not_permit_refused_credentials(site: MemorySite) -> None:
    make_mirror(site, APP, CREDENTIALS)
    site.database.run("UPDATE repomirrorconfig SET refusals = 3")
    _, after = mirrors(site).change(APP, {"sync_interval": 60})
    assert after.row["refusals"] == 3


def test_a_new_reference_makes_known_digests_unknown(site: MemorySite) -> None:
    make_mirror(site, APP)
    site.database.run(
        "INSERT INTO mirrortag (mirror_id, tag, upstream_digest, checked_at)"
        " SELECT id, 'v1', 'sha256:1', now() FROM repomirrorconfig"
    )
    mirrors(site).change(APP, {"root_rule": ["v*"]})
    known = "SELECT upstream_digest, checked_at IS NOT NULL FROM mirrortag"
    assert site.database.read(known) == [["sha256:1", True]]
    mirrors(site).change(APP, {"external_reference": "registry.example.com/other"})
    assert site.database.read(known) == [[None, False]]


def test_a_new_interval_changes_the_due_date(site: MemorySite) -> None:
    make_mirror(site, APP)
    site.database.run("UPDATE repomirrorconfig SET sync_status = 'SUCCESS'")
    _, after = mirrors(site).change(APP, {"sync_interval": 60})
    now = site.database.read("SELECT now()")[0][0]
    assert timedelta(0) < after.row["next_at"] - now <= timedelta(seconds=60)
    assert not (after.row["next_at"] - START) % timedelta(seconds=60)
    _, after = mirrors(site).change(APP, {"sync_interval": 0})
    assert after.row["next_at"] is None


def test_a_run_is_requested_once(site: MemorySite) -> None:
    make_mirror(site, APP, {"is_enabled": False})
    site.database.run("UPDATE repomirrorconfig SET retries_remaining = 0, refusals = 3")
    mirrors(site).request_sync(APP)
    requested = _found(site)
    assert requested.status == "SYNC_NOW"
    assert (requested.row["retries_remaining"], requested.row["refusals"]) == (3, 0)
    mirrors(site).request_sync(APP)
    assert _found(site).row["requested_at"] == requested.row["requested_at"]


def test_no_run_is_requested_during_a_run(site: MemorySite) -> None:
    make_mirror(site, APP)
    _start_run(site)
    with pytest.raises(MirrorUnknown, match="in progress"):
        mirrors(site).request_sync(APP)


@pytest.mark.parametrize("state", ["NORMAL", "READ_ONLY"])
def test_no_run_is_requested_in_another_state(site: MemorySite, state: str) -> None:
    make_mirror(site, APP)
    site.database.run("UPDATE repository SET state = %s WHERE name = 'copy'", [state])
    with pytest.raises(MirrorInactive, match=state):
        mirrors(site).request_sync(APP)


def test_a_requested_run_is_cancelled_at_once(site: MemorySite) -> None:
    make_mirror(site, APP)
    mirrors(site).request_sync(APP)
    mirrors(site).request_cancel(APP)
    mirror = _found(site)
    assert (mirror.status, mirror.row["requested_at"]) == ("CANCEL", None)
    assert mirror.row["next_at"] == START
    with pytest.raises(MirrorUnknown, match="no run to cancel"):
        mirrors(site).request_cancel(APP)


def test_the_cancellation_of_a_run_is_recorded(site: MemorySite) -> None:
    make_mirror(site, APP)
    _start_run(site)
    mirrors(site).request_cancel(APP)
    mirror = _found(site)
    assert mirror.status == "SYNCING"
    assert mirror.row["cancel_requested_at"] is not None


def test_deletions_are_confirmed_only_after_a_refusal(site: MemorySite) -> None:
    make_mirror(site, APP)
    with pytest.raises(NothingToConfirm):
        mirrors(site).confirm_deletions(APP)
    assert not _found(site).row["deletions_confirmed"]
    site.database.run(
        "UPDATE repomirrorconfig SET sync_status = 'FAIL', reason = 'too_many_deletions'"
    )
    mirrors(site).confirm_deletions(APP)
    mirror = _found(site)
    assert (mirror.status, mirror.row["deletions_confirmed"]) == ("SYNC_NOW", True)


def test_a_run_waits_while_all_its_tasks_are_postponed(site: MemorySite) -> None:
    make_mirror(site, APP)
    _start_run(site)
    site.database.run("UPDATE mirrorrun SET planned_at = now()")
    site.database.run(
        "INSERT INTO mirrortask (run_id, tag, digest, available_at)"
        " SELECT id, 'v' || number, 'sha256:1', now() + number * interval '1 minute'"
        " FROM mirrorrun, generate_series(1, 2) AS number"
    )
    waiting_until = _found(site).waiting_until
    now = site.database.read("SELECT now()")[0][0]
    assert waiting_until is not None
    assert timedelta(seconds=30) < waiting_until - now <= timedelta(seconds=60)
    site.database.run("UPDATE mirrortask SET available_at = now() WHERE tag = 'v2'")
    assert _found(site).waiting_until is None


def test_a_deleted_mirror_leaves_a_normal_repository(site: MemorySite) -> None:
    make_mirror(site, APP)
    _start_run(site)
    mirrors(site).delete(APP)
    assert site.database.read("SELECT state FROM repository WHERE name = 'copy'") == [["NORMAL"]]
    assert site.database.read("SELECT * FROM mirrorrun") == []


def test_a_namespace_is_deleted_with_its_mirrors(site: MemorySite) -> None:
    organization = "acme"
    users.create_organization(site.database, organization, SUPERUSER)
    repository = RepositoryName(organization, "copy")
    make_robot(site, f"{organization}+mirror")
    make_mirror(site, repository, {"robot_username": f"{organization}+mirror"})
    site.database.run('DELETE FROM "user" WHERE username = %s', [organization])
    assert mirrors(site).list() == []


def test_mirrors_are_listed_by_namespace(site: MemorySite) -> None:
    make_mirror(site, APP)
    assert [one.repository for one in mirrors(site).list(SUPERUSER)] == [APP]
    assert mirrors(site).list("other") == []


def _found(site: MemorySite) -> Mirror:
    return mirrors(site).find(APP)


def _column(site: MemorySite, name: str) -> Any:
    return site.database.read(f"SELECT {name} FROM repomirrorconfig")[0][0]


def _role_of_robot(site: MemorySite) -> str:
    rows = site.database.read(
        'SELECT p.role FROM repositorypermission p JOIN "user" u ON u.id = p.user_id'
        " WHERE u.username = %s",
        [ROBOT],
    )
    role: str = rows[0][0]
    return role


def _start_run(site: MemorySite) -> None:
    """Start a run as a worker does."""
    site.database.run(
        "WITH run AS (INSERT INTO mirrorrun (mirror_id, cause, site, instance)"
        " SELECT id, 'schedule', 'us', 'one' FROM repomirrorconfig RETURNING id)"
        " UPDATE repomirrorconfig SET sync_status = 'SYNCING', run_id = run.id FROM run"
    )
