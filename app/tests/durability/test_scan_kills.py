"""The process that scans is killed at random moments (T8)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from atoll.scanning.scan_states import ScanState
from atoll.scanning.scans import LEASE_SECONDS

from tests.clair.replay import Options, ReplayServer
from tests.clair.state import State

from ..integration.services import wait_until
from .mirror_images import push_image
from .mirror_worker import MirrorWorkerSite
from .scanner_process import running_scanner, scanner_site
from .scanning_stack import KEY
from .security_scans import let_pass, statuses
from .sites import MemorySite

# Images that one process scans at most before it is killed, and seconds that Clair takes for each.
_SCANS, _SECONDS = 6, 0.1
# Sessions of the database; those of a killed process end after their current statement.
_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
_LONGEST_LEASE = """
SELECT coalesce(max(extract(epoch FROM lease_expires - now())), 0)::float FROM securityscan
WHERE lease_token IS NOT NULL
"""


@pytest.fixture
def clair(tmp_path: Path) -> Iterator[ReplayServer]:
    state = State(tmp_path / "clair")
    state.change(delay=_SECONDS)
    with ReplayServer(state, Options(key=KEY)).running() as server:
        yield server


@pytest.fixture
def scanner(
    make_database: Callable[[], str], tmp_path: Path, clair: ReplayServer
) -> MirrorWorkerSite:
    return scanner_site(make_database(), tmp_path / "site", clair.url)


def sessions(site: MemorySite) -> set[int]:
    return {row[0] for row in site.database.read(_SESSIONS)}


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.long)])
def test_no_image_stays_in_progress_longer_than_a_lease_after_its_worker_was_killed(
    scanner: MirrorWorkerSite, clair: ReplayServer, kills: int
) -> None:
    site, images = scanner.site, kills * _SCANS
    chance = random.Random(kills)
    for number in range(images):
        push_image(site, str(number))
    known, killed_in_progress = sessions(site), 0
    for _ in range(kills):
        seen = len(clair.requests)
        moment = seen + 1 + chance.randrange(_SCANS)
        with running_scanner(scanner) as process:
            wait_until(
                "the scanner was asked",
                lambda moment=moment, process=process: (  # type: ignore[misc]
                    len(clair.requests) >= moment or process.poll() is not None
                ),
            )
            time.sleep(chance.uniform(0, _SECONDS))
            assert process.poll() is None, (scanner.directory / "log").read_text()
        wait_until("its sessions have ended", lambda: sessions(site) <= known)
        killed_in_progress += ScanState.IN_PROGRESS in statuses(site)
        assert site.database.read(_LONGEST_LEASE)[0][0] <= LEASE_SECONDS
        let_pass(site, LEASE_SECONDS)
        assert ScanState.IN_PROGRESS not in statuses(site)
        assert ScanState.PENDING in statuses(site)
    # Otherwise the kills would prove nothing.
    assert killed_in_progress > kills / 2
    with running_scanner(scanner):
        wait_until(
            "all images are scanned",
            lambda: set(statuses(site)) == {ScanState.COMPLETED},
            seconds=300,
        )
    assert len(statuses(site)) == images
    assert site.database.read("SELECT sum(failures) FROM securityscan") == [[0]]
