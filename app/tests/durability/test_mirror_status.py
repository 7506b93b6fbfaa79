"""The state of mirrors as `atoll status`, `atoll mirror` and the metrics report it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from atoll.mirroring.metrics import export_mirrors
from atoll.mirroring.status import MirrorStatuses
from atoll.names import RepositoryName
from prometheus_client import REGISTRY

from .commands import run_command
from .mirrors import add_mirror, add_run, add_task
from .sites import SUPERUSER, MemorySite


def ago(**duration: float) -> datetime:
    return datetime.now(UTC) - timedelta(**duration)


def overdue(site: MemorySite) -> list[str]:
    return [one.name for one in MirrorStatuses(site.database).summary().overdue]


def metric(name: str, repository: str) -> float | None:
    labels = {"namespace": SUPERUSER, "repository": repository}
    return REGISTRY.get_sample_value(f"quay_repository_mirror_{name}", labels)


def test_a_mirror_without_success_for_two_intervals_is_a_problem(
    site: MemorySite, capsys: pytest.CaptureFixture[str]
) -> None:
    add_mirror(site.database, "recent", last_success_at=ago(hours=1.5))
    add_mirror(site.database, "late", last_success_at=ago(hours=2.5), reason="auth_failed")
    assert overdue(site) == ["late"]
    assert run_command(site, "status") == 1
    assert "admin/late has had no successful run for 2.5 h" in capsys.readouterr().out


def test_a_mirror_that_never_succeeded_is_a_problem_two_intervals_after_its_start(
    site: MemorySite,
) -> None:
    add_mirror(site.database, "new")
    assert overdue(site) == []
    add_mirror(site.database, "old", created_at=ago(hours=2.5))
    add_mirror(site.database, "later", created_at=ago(days=9), sync_start_date=ago(hours=-1))
    assert overdue(site) == ["old"]


def test_a_short_interval_leaves_time_for_a_run(site: MemorySite) -> None:
    add_mirror(site.database, "new", sync_interval=60, last_success_at=ago(minutes=9))
    add_mirror(site.database, "old", sync_interval=60, last_success_at=ago(minutes=11))
    assert overdue(site) == ["old"]


def hours(begin: float, end: float) -> str:
    """Return the options of a mirror whose period is between two times, in hours from now."""
    times = [ago(hours=-moment).strftime("%H:%M") for moment in (begin, end)]
    return json.dumps({"hours": "-".join(times)})


def test_a_mirror_outside_of_its_hours_is_neither_overdue_nor_due(site: MemorySite) -> None:
    columns = {"last_success_at": ago(hours=21.5), "next_at": ago(hours=1)}
    add_mirror(site.database, "closed", options=hours(2, 3), **columns)
    add_mirror(site.database, "open", options=hours(-2, 2), **columns)
    add_mirror(site.database, "always", **columns)
    add_mirror(site.database, "succeeded", options=hours(-2, 2), last_success_at=ago(hours=1))
    summary = MirrorStatuses(site.database).summary()
    assert sorted(one.name for one in summary.overdue) == ["always", "open"]
    assert summary.due == 2
    due = {one.name for one in MirrorStatuses(site.database).all() if one.is_due}
    assert due == {"always", "open"}


@pytest.mark.parametrize("columns", [{"is_enabled": False}, {"sync_interval": 0}])
def test_a_mirror_that_runs_on_request_only_is_not_overdue(
    site: MemorySite, columns: dict[str, object]
) -> None:
    add_mirror(site.database, "app", last_success_at=ago(days=9), **columns)
    assert overdue(site) == []


def test_a_mirror_of_a_repository_in_another_state_is_not_overdue(site: MemorySite) -> None:
    add_mirror(site.database, "app", last_success_at=ago(days=9))
    site.database.run("UPDATE repository SET state = 'READ_ONLY'")
    assert overdue(site) == []


def test_unconfirmed_deletions_are_a_problem_at_once(site: MemorySite) -> None:
    add_mirror(site.database, "app", last_success_at=ago(hours=1), reason="too_many_deletions")
    problems = MirrorStatuses(site.database).summary().problems()
    assert problems == [
        "the mirror admin/app deletes no tags until they are confirmed with"
        " `atoll mirror confirm-deletions admin/app`"
    ]


def test_status_names_the_longest_overdue_of_many_mirrors(site: MemorySite) -> None:
    for number in range(13):
        add_mirror(site.database, f"app{number}", last_success_at=ago(days=1 + number))
    problems = MirrorStatuses(site.database).summary().problems()
    assert len(problems) == 11
    assert "admin/app12 " in problems[0]
    assert problems[-1] == "3 more mirrors have had no recent successful run"


def test_status_counts_mirrors(site: MemorySite, capsys: pytest.CaptureFixture[str]) -> None:
    add_mirror(site.database, "due", next_at=ago(minutes=1))
    add_mirror(site.database, "requested", is_enabled=False, requested_at=ago(minutes=1))
    add_mirror(site.database, "later", next_at=ago(minutes=-1), sync_status="FAIL")
    add_run(site.database, add_mirror(site.database, "running", next_at=ago(minutes=1)))
    assert run_command(site, "status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["mirrors"] == {
        "mirrors": 4,
        "active": 3,
        "running": 1,
        "due": 2,
        "failed": 1,
        "overdue": 0,
    }


def test_metrics_show_a_run_in_progress_and_its_predecessor(site: MemorySite) -> None:
    mirror = add_mirror(site.database, "app")
    export_mirrors(site.database)
    assert metric("last_sync_status", "app") is None
    add_run(site.database, mirror, outcome="SUCCESS")
    export_mirrors(site.database)
    assert metric("last_sync_status", "app") == 1
    assert metric("sync_complete", "app") == 1
    run = add_run(site.database, mirror)
    add_task(site.database, run, "1.0")
    add_task(site.database, run, "1.1", state="failed")
    export_mirrors(site.database)
    assert metric("last_sync_status", "app") == 2
    assert metric("sync_complete", "app") == 1
    assert metric("pending_tags", "app") == 1


@pytest.mark.parametrize("outcome", ["FAIL", "CANCEL"])
def test_metrics_show_a_failed_run(site: MemorySite, outcome: str) -> None:
    add_run(site.database, add_mirror(site.database, "app"), outcome=outcome)
    export_mirrors(site.database)
    assert metric("last_sync_status", "app") == 0
    assert metric("sync_complete", "app") == 0
    timestamp = metric("last_sync_timestamp", "app")
    assert timestamp == pytest.approx(datetime.now(UTC).timestamp(), abs=600)


def test_metrics_of_a_deleted_mirror_disappear(site: MemorySite) -> None:
    add_run(site.database, add_mirror(site.database, "app"), outcome="SUCCESS")
    export_mirrors(site.database)
    site.database.run("DELETE FROM repository WHERE name = 'app'")
    export_mirrors(site.database)
    assert metric("last_sync_status", "app") is None


def test_metrics_show_due_mirrors_and_blocked_upstreams(site: MemorySite) -> None:
    add_mirror(site.database, "due", next_at=ago(minutes=1), last_success_at=ago(hours=1))
    site.database.run(
        "INSERT INTO upstream (host, account, route, blocked_until)"
        " VALUES ('up.test', '', '', now() + interval '1 hour'), ('up.test', 'user', '', NULL)"
    )
    export_mirrors(site.database)
    assert REGISTRY.get_sample_value("atoll_mirror_due") == 1
    oldest = REGISTRY.get_sample_value("atoll_mirror_oldest_success_seconds")
    assert oldest == pytest.approx(3600, abs=600)
    blocked = REGISTRY.get_sample_value("atoll_upstream_blocked_seconds", {"upstream": "up.test"})
    assert blocked == pytest.approx(3600, abs=600)


def test_list_shows_mirrors_and_selects_failed_ones(
    site: MemorySite, capsys: pytest.CaptureFixture[str]
) -> None:
    add_mirror(site.database, "healthy", last_success_at=ago(hours=1))
    add_mirror(site.database, "failing", sync_status="FAIL")
    assert run_command(site, "mirror", "list") == 0
    text = capsys.readouterr().out
    assert "admin/healthy  docker.io/library/alpine  NEVER_RUN        1h  1h ago" in text
    run_command(site, "mirror", "list", "--failed", "--json")
    found = json.loads(capsys.readouterr().out)
    assert [one["repository"] for one in found] == ["admin/failing"]


def test_show_prints_the_last_run(site: MemorySite, capsys: pytest.CaptureFixture[str]) -> None:
    mirror = add_mirror(site.database, "app")
    add_run(site.database, mirror, outcome="FAIL", tags_total=5, tags_failed=2, bytes_copied=2048)
    assert run_command(site, "mirror", "show", "admin/app") == 0
    text = capsys.readouterr().out
    assert text.startswith("admin/app mirrors docker.io/library/alpine as admin+mirror\n")
    assert "tags:         5, 0 unchanged, 0 copied, 0 pending, 2 failed, 0 deleted" in text
    assert "copied:       2.0 KiB, 0 B present before" in text


@pytest.mark.parametrize("command", ["show", "runs", "tags"])
def test_commands_name_a_repository_that_is_not_a_mirror(
    site: MemorySite, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(site, "mirror", command, "admin/app") == 1
    assert "'admin/app' is not a mirror" in capsys.readouterr().err


def test_runs_are_listed_newest_first(site: MemorySite, capsys: pytest.CaptureFixture[str]) -> None:
    mirror = add_mirror(site.database, "app")
    add_run(site.database, mirror, outcome="FAIL", reason="auth_failed")
    add_run(site.database, mirror, outcome="SUCCESS")
    add_run(site.database, mirror)
    run_command(site, "mirror", "runs", "admin/app", "--limit", "2", "--json")
    found = json.loads(capsys.readouterr().out)
    assert [one["outcome"] for one in found] == [None, "SUCCESS"]
    run_command(site, "mirror", "runs", "admin/app")
    assert "FAIL (auth_failed)" in capsys.readouterr().out


def test_tags_show_the_tasks_of_the_current_run(
    site: MemorySite, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror = add_mirror(site.database, "app")
    site.database.run(
        "INSERT INTO mirrortag (mirror_id, tag, gone_since, last_error) VALUES"
        " (%(id)s, 'current', NULL, NULL), (%(id)s, 'gone', now(), NULL),"
        " (%(id)s, 'failed', NULL, 'blob truncated'), (%(id)s, 'retried', NULL, 'blob truncated')",
        {"id": mirror},
    )
    run = add_run(site.database, mirror)
    for tag, state in [("retried", "pending"), ("new", "pending"), ("worse", "failed")]:
        add_task(site.database, run, tag, state)
    add_run(site.database, add_mirror(site.database, "other"))
    found = MirrorStatuses(site.database).tags(RepositoryName(SUPERUSER, "app"))
    assert {one.tag: one.state for one in found} == {
        "current": "current",
        "failed": "failed",
        "gone": "gone",
        "new": "pending",
        "retried": "pending",
        "worse": "failed",
    }
    run_command(site, "mirror", "tags", "admin/app", "--state", "failed")
    text = capsys.readouterr().out
    assert text.count("blob truncated") == 2
    assert "retried" not in text


def test_budget_shows_the_shares_of_processes(
    site: MemorySite, capsys: pytest.CaptureFixture[str]
) -> None:
    site.database.run(
        "INSERT INTO upstream (host, account, route, remaining, allowance)"
        " VALUES ('up.test', 'user', '', 76, 100);"
        " INSERT INTO upstreamlease SELECT id, gen_random_uuid(), 2, 3, 2, NULL, now() + t"
        " FROM upstream, (VALUES (interval '1 hour'), ('1 hour'), ('-1 hour')) AS leases (t)"
    )
    assert run_command(site, "mirror", "budget") == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [
        *("up.test", "user", "4/6", "2", "0", "76", "of", "100", "-")
    ]
