"""Pauses of an upstream apply to all processes of all sites, and to real requests."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from email.message import Message
from itertools import pairwise
from pathlib import Path

import pytest
from atoll.db.pool import Database
from atoll.outbound.proxies import Proxies
from atoll.upstream.access import Access
from atoll.upstream.client import UpstreamClient
from atoll.upstream.credentials import Credentials
from atoll.upstream.errors import (
    CircuitOpen,
    Paused,
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    Unreachable,
)
from atoll.upstream.reference import UpstreamReference
from atoll.upstream.shared_budget import SharedBudgets

from ..integration.services import wait_until
from ..unit.clock import Clock
from ..upstream import fault_upstream as faults
from ..upstream.certificates import PrivateCa
from ..upstream.clients import upstreams
from ..upstream.fault_upstream import FaultUpstream, Oddities
from .sites import MemoryRegistry
from .upstream_budgets import REFERENCE, budget_of, budgets_of, hold, listening


def test_a_pause_applies_to_all_processes_and_ends(database: Database) -> None:
    clock = Clock()
    first, second = (budget_of(database, clock=clock) for _ in range(2))
    with second.request(counts=False):
        pass
    with pytest.raises(RateLimited), first.request(counts=False):
        raise RateLimited("wait", 60)
    for budget in (first, second):
        budget.refresh()
        with pytest.raises(RateLimited) as refused, budget.request(counts=False):
            pass
        assert 50 < refused.value.seconds <= 60
    # A minute later, for the database and for both processes.
    database.run("UPDATE upstream SET blocked_until = blocked_until - interval '1 minute'")
    clock.now += 60
    for budget in (first, second):
        with budget.request(counts=False):
            pass


def test_a_pause_is_never_shortened(database: Database) -> None:
    budget = budget_of(database)
    with ExitStack() as stack:
        hold(stack, budget)
        for seconds in (100, 10):
            # The second request was in progress when the first was refused.
            budget._blocked_until = 0
            with pytest.raises(RateLimited), budget.request(counts=False):
                raise RateLimited("wait", seconds)
    left = database.run("SELECT extract(epoch FROM blocked_until - now())::float8 FROM upstream")
    assert 90 < left[0][0] <= 100


def test_a_pause_that_begins_during_a_renewal_is_kept(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = budget_of(database)
    renew = budget._leases.renew

    def renew_and_refuse(*arguments: object) -> object:
        share = renew(*arguments)  # type: ignore[arg-type]
        budget._block(100)
        return share

    monkeypatch.setattr(budget._leases, "renew", renew_and_refuse)
    with pytest.raises(RateLimited), budget.request(counts=False):
        pass


def test_accounts_hosts_and_chosen_routes_are_separate(database: Database) -> None:
    budgets = budgets_of(database)
    other_host = UpstreamReference.parse("other.example/team/app")
    other_repository = UpstreamReference.parse("registry.example/other/app")
    proxies = Proxies.of(https="http://mine.example:3128")
    with (
        pytest.raises(RateLimited),
        budgets.budget(REFERENCE, Access(verify_tls=False)).request(counts=False),
    ):
        raise RateLimited("wait", 100)
    with pytest.raises(RateLimited), budgets.budget(REFERENCE, Access()).request(counts=False):
        raise RateLimited("wait", 100)
    for reference, access in (
        (other_host, Access()),
        (REFERENCE, Access(Credentials("user", "x"))),
        (REFERENCE, Access(proxies=proxies)),
    ):
        with budgets.budget(reference, access).request(counts=False):
            pass
    with (
        pytest.raises(RateLimited),
        budgets.budget(other_repository, Access()).request(counts=False),
    ):
        pass


def test_an_upstream_that_fails_is_paused_for_this_process_only(database: Database) -> None:
    clock = Clock()
    budget, other = budget_of(database, clock=clock), budget_of(database)
    for error in (Unreachable("x"), ServerFailed("x"), Unreachable("x"), Unreachable("x")):
        with pytest.raises(type(error)), budget.request(counts=False):
            raise error
    with pytest.raises(Unreachable), budget.request(counts=False):
        raise Unreachable("x")
    with pytest.raises(CircuitOpen) as refused, budget.request(counts=False):
        pass
    assert 9 < refused.value.seconds <= 10
    database.run("DELETE FROM upstreamlease")
    with other.request(counts=False):
        pass
    database.run("DELETE FROM upstreamlease")
    clock.now += 10
    with budget.request(counts=False) as turn:
        turn.responded(200, Message())


def clients(
    ca: PrivateCa, upstream: FaultUpstream, all_budgets: list[SharedBudgets]
) -> list[UpstreamClient]:
    reference = UpstreamReference.parse(f"{upstream.host}/team/app")
    return [
        upstreams(ca, make_budget=budgets.budget).client(reference, Access())
        for budgets in all_budgets
    ]


def test_no_site_sends_a_request_during_a_pause(ca: PrivateCa, registry: MemoryRegistry) -> None:
    """The upstream responds to the seventh request with 429 and Retry-After."""
    sites = [budgets_of(registry[site].database) for site in ("us", "eu")]
    with (
        FaultUpstream(ca.server_context()).running() as upstream,
        listening(*sites),
        ExitStack() as stack,
    ):
        upstream.repository().add_image("latest")
        upstream.fail("manifest", faults.too_many_requests("2"), after=6)
        stop = threading.Event()
        stack.callback(stop.set)
        paused = []

        def work(one: UpstreamClient) -> None:
            while not stop.is_set():
                try:
                    one.head("latest")
                    time.sleep(0.3)
                except Paused as error:
                    paused.append(error)
                    stop.wait(0.02)

        threads = [
            threading.Thread(target=work, args=(one,)) for one in clients(ca, upstream, sites)
        ]
        for thread in threads:
            thread.start()
        wait_until("requests are sent again", lambda: upstream.count("manifest") > 10)
        stop.set()
        for thread in threads:
            thread.join()
        times = [request.at for request in upstream.requests if request.kind == "manifest"]
        # A request that the other site sent in the same moment may follow the seventh.
        pauses = [later - earlier for earlier, later in pairwise(times[6:])]
        assert max(pauses[:2]) > 1.5
        assert all(isinstance(error, RateLimited) for error in paused)


def test_pulls_of_a_limited_upstream_are_paused_and_checks_are_not(
    ca: PrivateCa, database: Database, tmp_path: Path
) -> None:
    del tmp_path
    budgets = budgets_of(database)
    with FaultUpstream(ca.server_context(), Oddities(rate_limit=10)).running() as upstream:
        upstream.repository().add_image("latest")
        (one,) = clients(ca, upstream, [budgets])
        for _ in range(8):
            one.manifest("latest")
        with pytest.raises(QuotaExhausted):
            one.manifest("latest")
        assert one.head("latest") is not None
        assert upstream.pulls == 8


def test_a_failing_upstream_is_asked_rarely(ca: PrivateCa, database: Database) -> None:
    with FaultUpstream(ca.server_context()).running() as upstream:
        upstream.fail("manifest", faults.hang_up(), times=None)
        (one,) = clients(ca, upstream, [budgets_of(database)])
        for _ in range(5):
            with pytest.raises(Unreachable):
                one.head("latest")
        for _ in range(50):
            with pytest.raises(CircuitOpen):
                one.head("latest")
        assert upstream.count("manifest") == 5
