"""Organizations become mirrors, and what an upstream lists becomes their repositories."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from atoll.audit.log import Entry
from atoll.auth.organizations import OrganizationUnknown
from atoll.auth.robot_rule import RobotRule
from atoll.auth.robots import RobotInUse, Robots
from atoll.db.leased_queue import LeaseLost
from atoll.mirroring.errors import (
    InvalidMirror,
    MirroredOrganization,
    OrganizationMirrorRefused,
    OrganizationMirrorUnknown,
)
from atoll.mirroring.mirror_records import Mirror
from atoll.mirroring.organizations.discoveries import Discoveries, DiscoveryClaim
from atoll.mirroring.organizations.organization_mirrors import OrganizationMirrorChange
from atoll.mirroring.organizations.reconciliation import Reconciliation
from atoll.mirroring.outcome import failed
from atoll.names import RepositoryName
from atoll.registry.namespace_deletion import NamespaceDeletion
from atoll.upstream.credentials import Credentials

from .mirrored import mirrors, new_mirror
from .mirrored_organizations import (
    NEW,
    ORGANIZATION,
    PASSWORD,
    ROBOT,
    START,
    claimed,
    discover,
    make_organization,
    make_organization_mirror,
    organization_mirrors,
)
from .sites import SUPERUSER, MemorySite, make_registry

APP = RepositoryName(ORGANIZATION, "app")


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    return make_registry(make_database(), tmp_path, ["us"])["us"]


def row(site: MemorySite) -> dict[str, Any]:
    return dict(organization_mirrors(site).find(ORGANIZATION).row)


def read(site: MemorySite, statement: str) -> list[tuple[Any, ...]]:
    return [tuple(one) for one in site.database.read(statement)]


def mirror(site: MemorySite, name: str = "app") -> Mirror:
    return mirrors(site).find(RepositoryName(ORGANIZATION, name))


def states(site: MemorySite) -> dict[str, str]:
    return dict(read(site, "SELECT name, state FROM orgmirrorrepository"))


def logged(site: MemorySite) -> list[tuple[str, str | None]]:
    statement = "SELECT kind, repository FROM logentry WHERE kind LIKE 'org_mirror%' ORDER BY id"
    return read(site, statement)


# Settings -------------------------------------------------------------------------------------


def test_an_empty_organization_becomes_a_mirror_once(site: MemorySite) -> None:
    with pytest.raises(OrganizationUnknown):
        organization_mirrors(site).create(ORGANIZATION, NEW)
    with pytest.raises(OrganizationMirrorUnknown):
        organization_mirrors(site).find(ORGANIZATION)
    made = make_organization_mirror(site)
    found = made.find(ORGANIZATION)
    assert (found.status, found.robot) == ("NEVER_RUN", ROBOT)
    assert found.reference == "https://quay.example.com/team"
    assert found.row["next_at"] == START
    assert PASSWORD not in str(found.row)
    settings = made.settings(found)
    assert str(settings.reference) == "quay.example.com/team"
    assert settings.access.credentials == Credentials("$oauthtoken", PASSWORD)
    discover(site, "app")
    with pytest.raises(OrganizationMirrorRefused, match="already"):
        made.create(ORGANIZATION, NEW)


def test_an_organization_with_repositories_does_not_become_a_mirror(site: MemorySite) -> None:
    make_organization(site)
    site.graph.repositories.create(APP, "private")
    with pytest.raises(OrganizationMirrorRefused, match="has repositories"):
        organization_mirrors(site).create(ORGANIZATION, NEW)


_REFUSED: list[tuple[Any, str]] = [
    ({"external_registry_url": "http://quay.example.com"}, "external_registry_url"),
    ({"external_registry_url": "https://10.0.0.1"}, "external_registry_url"),
    ({"external_namespace": "team/sub"}, "external_namespace"),
    ({"robot_username": f"{SUPERUSER}+mirror"}, "robot_username"),
    (
        {"external_registry_username": None, "external_registry_password": "x"},
        "external_registry_password",
    ),
    (
        {"external_registry_config": {"proxy": {"https_proxy": "http://10.0.0.1:3128"}}},
        "external_registry_config.proxy",
    ),
]


def test_settings_are_refused_by_name(site: MemorySite) -> None:
    make_organization(site)
    made = organization_mirrors(site)
    for change, field in _REFUSED:
        with pytest.raises(InvalidMirror) as refused:
            made.create(ORGANIZATION, {**NEW, **change})
        assert refused.value.field == field
    made.create(ORGANIZATION, NEW)
    before = row(site)
    for change, field in _REFUSED:
        with pytest.raises(InvalidMirror) as refused:
            made.change(ORGANIZATION, {**change, "sync_interval": 60})
        assert refused.value.field == field
    after = row(site)
    assert {**before, "now": None} == {**after, "now": None}


def test_the_type_is_fixed_and_the_password_stays_with_its_host(site: MemorySite) -> None:
    made = make_organization_mirror(site)
    with pytest.raises(InvalidMirror, match="external_registry_type"):
        made.change(ORGANIZATION, {"external_registry_type": "oci"})
    with pytest.raises(InvalidMirror, match="given again"):
        made.change(ORGANIZATION, {"external_registry_url": "https://other.example.com"})
    made.change(ORGANIZATION, {"external_namespace": "other", "external_registry_type": "quay"})


def test_a_change_applies_to_all_repositories(site: MemorySite) -> None:
    made = make_organization_mirror(site)
    discover(site, "app", "deep/web")
    site.database.run("UPDATE repomirrorconfig SET sync_status = 'SUCCESS', refusals = 3", {})
    made.change(
        ORGANIZATION,
        {
            "external_registry_url": "other.example.com:5000/",
            "external_namespace": "mine",
            "external_registry_username": "robot",
            "external_registry_password": "other",
            "sync_interval": 600,
            "skopeo_timeout": 60,
            "tags": ["3.*"],
            "options": {"newest": 3},
            "external_registry_config": {
                "proxy": {"https_proxy": "http://user:secret@proxy.example.com:3128"}
            },
            "repository_filters": ["app"],
            "is_enabled": False,
        },
    )
    changed = mirror(site, "deep/web")
    settings = mirrors(site).settings(changed)
    assert str(settings.reference) == "other.example.com:5000/mine/deep/web"
    assert settings.access.credentials == Credentials("robot", "other")
    assert settings.access.proxies == made.settings(made.find(ORGANIZATION)).access.proxies
    assert "secret" not in str(changed.row)
    assert (settings.rule.include, settings.rule.newest) == (("3.*",), 3)
    assert settings.tag_timeout == timedelta(seconds=60)
    assert (changed.is_enabled, changed.row["refusals"]) == (False, 0)
    assert changed.row["settings_version"] == 1
    assert changed.schedule.interval == 600
    assert changed.row["next_at"] > changed.row["created_at"]


def test_repositories_have_no_settings_of_their_own(site: MemorySite) -> None:
    make_organization_mirror(site)
    discover(site, "app")
    with pytest.raises(MirroredOrganization):
        mirrors(site).change(APP, {"sync_interval": 0})
    with pytest.raises(MirroredOrganization):
        mirrors(site).delete(APP)
    other = RepositoryName(ORGANIZATION, "other")
    site.graph.repositories.create(other, "private")
    with pytest.raises(MirroredOrganization):
        mirrors(site).create(other, {**new_mirror(), "robot_username": ROBOT})
    mirrors(site).request_sync(APP)
    mirrors(site).request_cancel(APP)


def test_a_deleted_mirror_leaves_ordinary_repositories(site: MemorySite) -> None:
    made = make_organization_mirror(site)
    discover(site, "app")
    made.delete(ORGANIZATION)
    assert read(site, "SELECT name, state FROM repository") == [("app", "NORMAL")]
    for table in ("repomirrorconfig", "orgmirrorrepository"):
        assert read(site, f"SELECT count(*) FROM {table}") == [(0,)]
    with pytest.raises(OrganizationMirrorUnknown):
        made.delete(ORGANIZATION)


def test_the_robot_stays_and_goes_with_its_organization(site: MemorySite) -> None:
    make_organization_mirror(site)
    discover(site, "app")
    robots = Robots(site.database, site.graph.cipher, RobotRule())
    with pytest.raises(RobotInUse, match=f"'{ORGANIZATION}';"):
        robots.delete(ORGANIZATION, "mirror")
    removal = NamespaceDeletion(site.database, site.graph.redis)
    entry = Entry("org_delete", ORGANIZATION, None, SUPERUSER, None, {})
    removal.delete_namespace(ORGANIZATION, entry, organization=True)
    assert read(site, "SELECT count(*) FROM orgmirrorconfig") == [(0,)]


# Reconciliation -------------------------------------------------------------------------------


def test_repositories_are_created_once_with_the_settings_of_the_mirror(site: MemorySite) -> None:
    make_organization_mirror(site, {"options": {"referrers": "none"}})
    result = discover(site, "app", "deep/web")
    assert result.message == "2 mirrored, 2 created"
    found = mirror(site, "deep/web")
    settings = mirrors(site).settings(found)
    assert str(settings.reference) == "quay.example.com/team/deep/web"
    assert settings.access.credentials == Credentials("$oauthtoken", PASSWORD)
    assert (settings.rule.include, settings.referrers) == (("*",), "none")
    assert (found.repository_state, found.robot, found.status) == ("MIRROR", ROBOT, "NEVER_RUN")
    assert found.row["next_at"] <= row(site)["now"]
    roles = read(
        site,
        'SELECT u.username, p.role FROM repositorypermission p JOIN "user" u ON u.id = p.user_id',
    )
    assert roles == [(ROBOT, "write"), (ROBOT, "write")]
    assert row(site)["next_at"] > row(site)["now"]
    assert discover(site, "app", "deep/web").message == "2 mirrored"
    assert logged(site) == [
        ("org_mirror_sync_started", None),
        ("org_mirror_repo_created", "app"),
        ("org_mirror_repo_created", "deep/web"),
        ("org_mirror_sync_success", None),
        ("org_mirror_sync_started", None),
        ("org_mirror_sync_success", None),
    ]


def test_new_repositories_have_the_default_permissions(site: MemorySite) -> None:
    make_organization_mirror(site)
    site.database.run(
        "INSERT INTO permissionprototype (organization_id, delegate_user_id, role)"
        ' SELECT o.id, u.id, \'read\' FROM "user" o, "user" u'
        " WHERE o.username = %(o)s AND u.username IN (%(a)s, %(r)s)",
        {"o": ORGANIZATION, "a": SUPERUSER, "r": ROBOT},
    )
    discover(site, "app")
    roles = read(
        site,
        'SELECT u.username, p.role FROM repositorypermission p JOIN "user" u ON u.id = p.user_id',
    )
    assert sorted(roles) == [(ROBOT, "write"), (SUPERUSER, "read")]


def test_a_repository_that_is_gone_keeps_its_content_and_comes_back(site: MemorySite) -> None:
    make_organization_mirror(site)
    discover(site, "app", "base", "web")
    result = discover(site, "app", unselected=["base"])
    assert (sorted(result.skipped), result.message) == (["base", "web"], "1 mirrored, 2 skipped")
    messages = read(site, "SELECT name, message FROM orgmirrorrepository ORDER BY name")
    assert [(name, bool(text)) for name, text in messages] == [
        ("app", False),
        ("base", True),
        ("web", True),
    ]
    assert "repository_filters" in messages[1][1]
    assert (mirror(site, "web").is_enabled, mirror(site, "app").is_enabled) == (False, True)
    assert mirror(site, "web").repository_state == "MIRROR"
    assert discover(site, "app").message == "1 mirrored"
    organization_mirrors(site).change(ORGANIZATION, {"is_enabled": True, "sync_interval": 60})
    assert not mirror(site, "web").is_enabled
    site.database.run("UPDATE repomirrorconfig SET sync_status = 'SUCCESS'", {})
    assert discover(site, "app", "web").message == "2 mirrored, 1 resumed"
    back = mirror(site, "web")
    assert (back.is_enabled, back.status) == (True, "NEVER_RUN")
    assert mirror(site, "app").status == "SUCCESS"


def test_a_repository_that_is_no_mirror_is_reported_and_left(site: MemorySite) -> None:
    make_organization_mirror(site)
    site.graph.repositories.create(APP, "public", description="mine")
    long = "x" * 253
    for _ in range(2):
        result = discover(site, "app", long, "web")
        assert sorted(result.conflicts) == ["app", long]
    assert states(site) == {"app": "conflict", long: "conflict", "web": "found"}
    assert read(
        site, "SELECT description, state, visibility FROM repository WHERE name = 'app'"
    ) == [("mine", "NORMAL", "public")]
    failures = [name for kind, name in logged(site) if kind == "org_mirror_repo_creation_failed"]
    assert sorted(failures, key=str) == ["app", long]
    discover(site, "web")
    assert states(site) == {"web": "found"}


def test_a_deleted_repository_is_created_again(site: MemorySite) -> None:
    make_organization_mirror(site)
    discover(site, "app")
    site.database.run("DELETE FROM repository", {})
    assert discover(site, "app").message == "1 mirrored, 1 created"


def test_a_requested_discovery_requests_runs_of_what_it_finds(site: MemorySite) -> None:
    made = make_organization_mirror(site, {"is_enabled": False})
    discover(site, "app", "gone", request=True)
    assert mirror(site).status == "SYNC_NOW"
    site.database.run("UPDATE repomirrorconfig SET sync_status = 'FAIL', requested_at = NULL", {})
    discover(site, "app", request=True)
    assert (mirror(site).status, mirror(site, "gone").status) == ("SYNC_NOW", "FAIL")
    assert row(site)["requested_at"] is None
    made.request_cancel(ORGANIZATION)
    assert mirror(site).status == "CANCEL"


# Leases ---------------------------------------------------------------------------------------


def test_one_process_discovers_and_another_continues_after_its_lease(site: MemorySite) -> None:
    make_organization_mirror(site)
    discoveries, reconciliation = (
        Discoveries(site.database),
        Reconciliation(site.database, site.graph.cipher),
    )
    lost = claimed(site)
    assert discoveries.claim(None, []) is None
    site.database.run("UPDATE orgmirrorconfig SET lease_expires = now()", {})
    found = discoveries.claim(None, [])
    assert found is not None
    with pytest.raises(LeaseLost):
        reconciliation.apply(lost, ["app"], ["app"])
    assert not discoveries.fail(lost, failed("tls_error", "TLS"))
    assert discoveries.extend([lost, found[1]]) == {found[1].lease_token}
    reconciliation.apply(found[1], ["app"], ["app"])
    assert [kind for kind, _name in logged(site)].count("org_mirror_sync_started") == 1


def test_a_discovery_ends_when_its_result_is_not_wanted(site: MemorySite) -> None:
    made = make_organization_mirror(site)
    discoveries = Discoveries(site.database)
    claim = claimed(site)
    with pytest.raises(OrganizationMirrorRefused):
        made.request_sync(ORGANIZATION)
    changes: list[OrganizationMirrorChange] = [
        {"external_namespace": "other"},
        {"repository_filters": ["web*"]},
    ]
    for change in changes:
        made.change(ORGANIZATION, change)
        assert _is_lost(site, claim)
        following = discoveries.claim(None, [])
        assert following is not None
        claim = following[1]
    made.request_cancel(ORGANIZATION)
    assert _is_lost(site, claim)
    with pytest.raises(OrganizationMirrorRefused):
        made.request_cancel(ORGANIZATION)
    assert discoveries.claim(None, []) is None
    assert (row(site)["sync_status"], states(site)) == ("CANCEL", {})


def _is_lost(site: MemorySite, claim: DiscoveryClaim) -> bool:
    with pytest.raises(LeaseLost):
        Reconciliation(site.database, site.graph.cipher).apply(claim, ["app"], ["app"])
    return True


def test_a_change_of_other_settings_is_what_new_repositories_get(site: MemorySite) -> None:
    made = make_organization_mirror(site)
    claim = claimed(site)
    made.change(ORGANIZATION, {"tags": ["latest"], "visibility": "public"})
    Reconciliation(site.database, site.graph.cipher).apply(claim, ["app"], ["app"])
    assert mirror(site).patterns == ["latest"]
    assert read(site, "SELECT visibility FROM repository") == [("public",)]


def test_temporary_failures_are_retried_three_times(site: MemorySite) -> None:
    make_organization_mirror(site)
    discoveries = Discoveries(site.database)
    for retries in (3, 2, 1, 0):
        claim = claimed(site)
        assert claim.mirror.row["retries_remaining"] == retries
        assert discoveries.fail(claim, failed("server_error", "the text", is_temporary=True))
        found = row(site)
        assert (found["sync_status"], found["reason"]) == ("FAIL", "server_error")
        is_retry = found["next_at"] - found["now"] < timedelta(seconds=1200)
        assert is_retry == (retries > 0) or found["next_at"].minute == 0
    assert claimed(site).mirror.row["retries_remaining"] == 3


def test_a_pause_uses_no_retry_and_a_refusal_is_counted(site: MemorySite) -> None:
    make_organization_mirror(site)
    discoveries = Discoveries(site.database)
    discoveries.postpone(claimed(site), 60.0, "requests are paused")
    assert discoveries.claim(None, []) is None
    assert row(site)["sync_status"] == "SYNCING"
    site.database.run("UPDATE orgmirrorconfig SET available_at = now()", {})
    found = discoveries.claim(None, [])
    assert found is not None
    assert found[1].mirror.row["retries_remaining"] == 3
    discoveries.fail(found[1], failed("auth_failed", "refused"))
    assert (row(site)["refusals"], row(site)["retries_remaining"]) == (1, 0)
    entry = read(site, "SELECT metadata FROM logentry ORDER BY id DESC LIMIT 1")[0][0]
    assert json.loads(json.dumps(entry))["message"] == "https://quay.example.com/team: refused"
