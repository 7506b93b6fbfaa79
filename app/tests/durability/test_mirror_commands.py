"""`atoll mirror sync`, `wait`, `cancel` and `confirm-deletions` request runs and await them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from atoll.cli import polling
from atoll.db.pool import Database
from atoll.mirroring.mirrors import MirrorChange
from atoll.names import RepositoryName

from ..upstream.certificates import private_ca
from ..upstream.clients import USER
from ..upstream.fault_upstream import FaultUpstream, Oddities
from .commands import run_command
from .mirrored import make_robot, new_mirror
from .mirrors import add_mirror, add_run, update_mirror
from .sites import SUPERUSER, MemorySite, make_registry

Found = TypeVar("Found")
Step = Callable[[Database, int], object]


@pytest.fixture
def mirror(site: MemorySite) -> int:
    """The mirror `admin/app`, which has had a failed run."""
    mirror = add_mirror(site.database, "app")
    add_run(site.database, mirror, outcome="FAIL", reason="not_found")
    return mirror


@pytest.fixture
def process(site: MemorySite, mirror: int, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that lets steps of a mirror process happen between polls."""

    def run(*steps: Step) -> None:
        left = list(steps)

        def poll(query: Callable[[], Found]) -> Found:
            left.pop(0)(site.database, mirror)
            return query()

        monkeypatch.setattr(polling, "poll", poll)

    return run


def start(database: Database, mirror: int) -> None:
    add_run(database, mirror, tags_total=2)
    update_mirror(database, mirror, requested_at=None)


def finish(outcome: str, reason: str | None = None) -> Step:
    """Return a step that ends the current run."""

    def step(database: Database, mirror: int) -> None:
        database.run(
            "UPDATE mirrorrun SET outcome = %s, reason = %s, finished_at = now()"
            " WHERE outcome IS NULL",
            [outcome, reason],
        )
        update_mirror(database, mirror, run_id=None, sync_status=outcome)

    return step


def requested(site: MemorySite) -> bool:
    return bool(site.database.read("SELECT requested_at IS NOT NULL FROM repomirrorconfig")[0][0])


@pytest.mark.usefixtures("mirror")
def test_sync_requests_a_run(site: MemorySite, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(site, "mirror", "sync", "admin/app") == 0
    assert capsys.readouterr().out == "a run of admin/app was requested\n"
    assert requested(site)


def test_sync_waits_for_the_run_that_it_requested(
    site: MemorySite, process: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    process(start, finish("SUCCESS"))
    assert run_command(site, "mirror", "sync", "admin/app", "--wait") == 0
    text = capsys.readouterr()
    assert text.out == "admin/app: 2 tags, 0 copied, 0 deleted, 0 B fetched\n"
    assert text.err.splitlines() == [
        "admin/app waits for a mirror process",
        "admin/app: 0 of 2 tags pending",
    ]


def test_sync_fails_if_the_run_fails(
    site: MemorySite, process: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    process(start, finish("FAIL", "auth_failed"))
    assert run_command(site, "mirror", "sync", "admin/app", "--wait") == 1
    assert "the run of admin/app ended with FAIL: auth_failed" in capsys.readouterr().err


def test_the_outcome_of_a_later_run_is_not_reported(
    site: MemorySite, process: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def failure_and_retry(database: Database, mirror: int) -> None:
        start(database, mirror)
        finish("FAIL", "partial")(database, mirror)
        start(database, mirror)
        finish("SUCCESS")(database, mirror)

    process(failure_and_retry)
    assert run_command(site, "mirror", "sync", "admin/app", "--wait", "--json") == 1
    assert json.loads(capsys.readouterr().out)["reason"] == "partial"


def test_sync_fails_if_the_run_is_cancelled_before_it_starts(
    site: MemorySite, process: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    process(lambda *_: run_command(site, "mirror", "cancel", "admin/app"))
    assert run_command(site, "mirror", "sync", "admin/app", "--wait") == 1
    assert "was cancelled before it started" in capsys.readouterr().err


@pytest.mark.usefixtures("mirror")
def test_the_timeout_requires_a_wait(site: MemorySite) -> None:
    assert run_command(site, "mirror", "sync", "admin/app", "--timeout", "1") == 1
    assert not requested(site)


def test_wait_waits_for_the_current_run(
    site: MemorySite, mirror: int, process: Callable[..., None]
) -> None:
    start(site.database, mirror)
    process(finish("SUCCESS"))
    assert run_command(site, "mirror", "wait", "admin/app") == 0
    assert not requested(site)


def test_wait_waits_for_the_requested_run(site: MemorySite, process: Callable[..., None]) -> None:
    run_command(site, "mirror", "sync", "admin/app")
    process(start, finish("SUCCESS"))
    assert run_command(site, "mirror", "wait", "admin/app") == 0


def test_wait_requests_a_run_if_there_is_none(
    site: MemorySite, process: Callable[..., None]
) -> None:
    process(start, finish("SUCCESS"))
    assert run_command(site, "mirror", "wait", "admin/app") == 0


@pytest.mark.usefixtures("mirror")
def test_wait_fails_at_its_timeout(site: MemorySite, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(site, "mirror", "wait", "admin/app", "--timeout", "0") == 1
    assert "timed out: admin/app waits for a mirror process" in capsys.readouterr().err


def test_cancel_requests_the_end_of_a_run(site: MemorySite, mirror: int) -> None:
    start(site.database, mirror)
    assert run_command(site, "mirror", "cancel", "admin/app") == 0
    rows = site.database.read("SELECT cancel_requested_at IS NOT NULL FROM repomirrorconfig")
    assert rows[0][0]


@pytest.mark.usefixtures("mirror")
def test_cancel_without_a_run_is_an_error(
    site: MemorySite, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(site, "mirror", "cancel", "admin/app") == 1
    assert "has no run to cancel" in capsys.readouterr().err


def test_deletions_are_confirmed_only_if_they_were_refused(
    site: MemorySite, mirror: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(site, "mirror", "confirm-deletions", "admin/app") == 1
    assert "nothing to confirm" in capsys.readouterr().err
    update_mirror(site.database, mirror, reason="too_many_deletions")
    assert run_command(site, "mirror", "confirm-deletions", "admin/app") == 0
    assert requested(site)


@pytest.mark.parametrize(
    ("password", "code", "text"),
    [
        (USER.password, 0, "admin/copy: the upstream has 1 tags\n"),
        ("wrong", 1, ""),
    ],
)
def test_verify_lists_the_tags_of_the_upstream(
    make_database: Callable[[], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    password: str,
    code: int,
    text: str,
) -> None:
    allowed: dict[str, object] = {"SSRF_ALLOWED_HOSTS": ["127.0.0.1"]}
    site = make_registry(make_database(), tmp_path, ["us"], allowed)["us"]
    ca = private_ca(tmp_path)
    upstream = FaultUpstream(ca.server_context(), Oddities(authentication="basic"))
    upstream.users[USER.username] = USER.password
    with upstream.running() as running:
        running.repository().add_image("1.0")
        change: MirrorChange = {
            "external_reference": f"{upstream.host}/team/app",
            "external_registry_username": USER.username,
            "external_registry_password": password,
            "options": {"ca_certificate": ca.certificate.read_text()},
        }
        name = RepositoryName(SUPERUSER, "copy")
        site.graph.repositories.create(name, "private")
        make_robot(site)
        site.graph.mirrors.create(name, {**new_mirror(), **change})
        assert run_command(site, "mirror", "verify", str(name)) == code
    assert capsys.readouterr().out == text
