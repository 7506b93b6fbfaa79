"""No interleaving of workers claims a digest twice, or leaves it in progress (T8)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from atoll.db.leased_queue import LeaseLost
from atoll.scanning.scan_states import ScanState
from atoll.scanning.scans import ScanClaim, Scans
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .security_scans import (
    INDEXER,
    LATER_INDEXER,
    let_pass,
    one_site,
    push_image,
    scans_of,
    statuses,
)
from .sites import MemorySite

IMAGES, LEASE, HOUR = 3, 60, 3600
# All images are pending, as after their pushes.
RESET = """
UPDATE securityscan SET index_status = 0, attempted_hash = '', indexer_hash = '', failures = 0,
    attempts = 0, available_at = now(), lease_token = NULL, lease_expires = NULL,
    last_indexed = NULL
"""


class Workers:
    """Workers of one queue, on a clock that only `wait` advances.

    A worker that is killed does nothing more. One that is late continues with a lost lease.
    """

    def __init__(self, site: MemorySite, scans: Scans) -> None:
        self._site = site
        self._scans = scans
        self._now = 0
        self._claims: dict[int, ScanClaim] = {}
        # The end of the lease of each claim that nothing replaced.
        self._leases: dict[ScanClaim, int] = {}

    def claim(self, worker: int, indexer_state: str) -> None:
        if worker in self._claims:
            return
        for claim in self._scans.claim(1, indexer_state):
            for other in [one for one in self._leases if one.digest == claim.digest]:
                assert self._leases.pop(other) <= self._now, "claimed twice"
            self._claims[worker] = claim
            self._leases[claim] = self._now + LEASE

    def renew(self, worker: int, _indexer_state: str) -> None:
        if claim := self._claims.get(worker):
            held = claim in self._leases
            assert self._scans.renew([claim]) == ({claim.lease_token} if held else set())
            if held:
                self._leases[claim] = self._now + LEASE

    def scan(self, worker: int, indexer_state: str) -> None:
        self._end(worker, lambda claim: self._scans.scanned(claim, indexer_state, {}))

    def fail(self, worker: int, indexer_state: str) -> None:
        self._end(worker, lambda claim: self._scans.retry(claim, "bad layer", indexer_state))

    def postpone(self, worker: int, _indexer_state: str) -> None:
        if claim := self._claims.pop(worker, None):
            self._scans.postpone([claim])
            self._leases.pop(claim, None)

    def kill(self, worker: int, _indexer_state: str) -> None:
        self._claims.pop(worker, None)

    def wait(self, _worker: int, _indexer_state: str) -> None:
        self._pass(20)

    def wait_longer(self, _worker: int, _indexer_state: str) -> None:
        self._pass(LEASE + 1)

    def _pass(self, seconds: int) -> None:
        self._now += seconds
        let_pass(self._site, seconds)

    def _end(self, worker: int, write: Callable[[ScanClaim], None]) -> None:
        claim = self._claims.pop(worker, None)
        if claim is None:
            return
        try:
            write(claim)
        except LeaseLost:
            assert claim not in self._leases, "the lease was lost too early"
        else:
            assert self._leases.pop(claim, None) is not None, "written without a lease"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                Workers.claim,
                Workers.claim,
                Workers.renew,
                Workers.scan,
                Workers.fail,
                Workers.postpone,
                Workers.kill,
                Workers.wait,
                Workers.wait_longer,
            ]
        ),
        st.integers(0, 2),
        st.sampled_from([INDEXER, LATER_INDEXER]),
    ),
    max_size=30,
)


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    site = one_site(make_database, tmp_path)
    for number in range(IMAGES):
        push_image(site, number)
    return site


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_no_digest_is_claimed_twice_or_stays_in_progress(
    site: MemorySite, steps: list[tuple[Callable[[Workers, int, str], None], int, str]]
) -> None:
    scans = scans_of(site)
    site.database.run(RESET)
    workers = Workers(site, scans)
    for step, worker, indexer_state in steps:
        step(workers, worker, indexer_state)
    let_pass(site, LEASE)
    assert ScanState.IN_PROGRESS not in statuses(site)
    let_pass(site, HOUR)
    assert len(scans.claim(IMAGES, "state-three")) == IMAGES
