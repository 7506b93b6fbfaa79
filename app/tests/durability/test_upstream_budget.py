"""All processes of all sites share one budget for an upstream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from email.message import Message
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.outbound.proxies import Proxies
from atoll.upstream import leases
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
from atoll.upstream.limits import UpstreamLimits
from atoll.upstream.reference import UpstreamReference
from atoll.upstream.shared_budget import SharedBudget, SharedBudgets
from prometheus_client import REGISTRY

from ..integration.services import wait_until
from ..unit.clock import Clock
from ..upstream import fault_upstream as faults
from ..upstream.certificates import PrivateCa
from ..upstream.clients import upstreams
from ..upstream.fault_upstream import FaultUpstream, Oddities
from .sites import MemoryRegistry

REFERENCE = UpstreamReference.parse("registry.example/team/app")


@pytest.fixture
def database(registry: MemoryRegistry) -> Database:
    return registry["us"].database


def budgets_of(
    database: Database, limits: UpstreamLimits | None = None, clock: Clock | None = None
) -> SharedBudgets:
    """Return the budgets of another process."""
    return SharedBudgets(
        database,
        lambda _registry: limits or UpstreamLimits(),
        monotonic=clock or time.monotonic,
    )


def budget_of(
    database: Database, limits: UpstreamLimits | None = None, clock: Clock | None = None
) -> SharedBudget:
    return budgets_of(database, limits, clock).budget(REFERENCE, Access())


def hold(stack: ExitStack, budget: SharedBudget, times: int = 1) -> None:
    for _ in range(times):
        stack.enter_context(budget.request(counts=False))


def slots(database: Database) -> list[int]:
    return [row[0] for row in database.run("SELECT slots FROM upstreamlease ORDER BY slots")]


@contextmanager
def listening(*all_budgets: SharedBudgets) -> Iterator[None]:
    stop = threading.Event()
    ready = threading.Semaphore(0)
    threads = []
    for budgets in all_budgets:
        heard = budgets._heard

        def note(ids: frozenset[str] | None, heard: Callable[..., None] = heard) -> None:
            heard(ids)
            if ids is None:
                ready.release()

        budgets._heard = note  # type: ignore[method-assign]
        thread = threading.Thread(target=budgets.listen, args=(stop, lambda: None))
        thread.start()
        threads.append(thread)
    for _ in all_budgets:
        ready.acquire()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# Slots --------------------------------------------------------------------------------------


def test_a_request_costs_no_statement_between_renewals(database: Database) -> None:
    clock = Clock()
    budget = budget_of(database, clock=clock)
    assert [_renewals(budget, clock) for _ in range(4)] == [1, 1, 1, 1]


def _renewals(budget: SharedBudget, clock: Clock) -> int:
    """Send 1,000 requests within 10 s and return the number of renewals."""
    renewals = 0
    renew = budget._leases.renew

    def counting(*arguments: object) -> object:
        nonlocal renewals
        renewals += 1
        return renew(*arguments)  # type: ignore[arg-type]

    budget._leases.renew = counting  # type: ignore[method-assign, assignment]
    for _ in range(1000):
        with budget.request(counts=False):
            clock.now += 0.01
    budget._leases.renew = renew  # type: ignore[method-assign]
    return renewals


def test_processes_share_the_slots(database: Database) -> None:
    first, second = budget_of(database), budget_of(database)
    with ExitStack() as stack:
        hold(stack, first, 4)
        _impatient(second)
        with pytest.raises(Paused), second.request(counts=False):
            pass
    # The first process has no request in progress any more, so its next renewal divides the slots.
    first.refresh()
    with ExitStack() as stack:
        hold(stack, first, 2)
        second.refresh()
        hold(stack, second, 2)
        assert slots(database) == [2, 2]


def _impatient(budget: SharedBudget) -> None:
    """Let the budget's clock advance quickly, so that a wait for a slot ends soon."""
    started = time.monotonic()
    budget._monotonic = lambda: started + 20 * (time.monotonic() - started)


def test_a_waiting_process_gets_its_share_by_notification(database: Database) -> None:
    # The clock of the first process stands still, so it renews its share for no other reason.
    one, other = budgets_of(database, clock=Clock()), budgets_of(database)
    first, second = (budgets.budget(REFERENCE, Access()) for budgets in (one, other))
    with ExitStack() as stack:
        hold(stack, first, 4)
    with listening(one, other), ExitStack() as stack:
        stop = threading.Event()

        def work() -> None:
            while not stop.wait(0.02):
                with first.request(counts=False):
                    pass

        thread = threading.Thread(target=work)
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        hold(stack, second)
        # The lease of the first process has not expired, else its row would be gone.
        assert len(slots(database)) == 2


def test_processes_take_turns_if_there_are_more_than_slots(database: Database) -> None:
    limits = UpstreamLimits(concurrent=1)
    stop = threading.Event()
    turns = [0, 0, 0]
    running, most = 0, 0
    lock = threading.Lock()
    all_budgets = [budgets_of(database, limits) for _ in turns]

    def work(number: int) -> None:
        nonlocal running, most
        budget = all_budgets[number].budget(REFERENCE, Access())
        while not stop.is_set():
            try:
                with budget.request(counts=False):
                    with lock:
                        running += 1
                        most = max(most, running)
                    time.sleep(0.01)
                    with lock:
                        running -= 1
                        turns[number] += 1
            except Paused:
                continue
        all_budgets[number].give_back()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(turns))]
    with listening(*all_budgets):
        for thread in threads:
            thread.start()
        wait_until("each process had a turn", lambda: all(turns))
        stop.set()
        for thread in threads:
            thread.join()
    assert most == 1


def test_the_slots_of_a_dead_process_are_free_when_its_lease_expires(database: Database) -> None:
    dead, living = budget_of(database), budget_of(database)
    with ExitStack() as stack:
        hold(stack, dead, 4)
        database.run("UPDATE upstreamlease SET expires = clock_timestamp()")
        hold(stack, living, 4)
    assert slots(database) == [4]


def test_a_process_that_ends_returns_its_slots(database: Database) -> None:
    budgets = budgets_of(database)
    with budgets.budget(REFERENCE, Access()).request(counts=False):
        pass
    budgets.give_back()
    assert slots(database) == []


def test_a_lost_database_is_no_failure_of_the_upstream(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = budget_of(database)

    def fail(*_arguments: object) -> None:
        raise DatabaseUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(Database, "run", fail)
        for _ in range(10):
            with pytest.raises(DatabaseUnavailable), budget.request(counts=False):
                pass
    with budget.request(counts=False):
        pass


def test_a_budget_continues_after_the_loss_of_all_sessions(database: Database) -> None:
    clock = Clock()
    budget = budget_of(database, UpstreamLimits(pulls=50, period=3600), clock)
    used = _pull(budget, 3)
    with budget.request(counts=False):
        with closing(database.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        clock.now += 60
    wait_until("requests are sent again", lambda: _is_admitted(budget))
    used += _pull(budget, 100)
    # The pulls that were granted and not returned are lost, a portion at most.
    assert 45 <= used <= 50


def _pull(budget: SharedBudget, number: int) -> int:
    """Send pulls until there are enough or none is permitted, and return their number."""
    for sent in range(number):
        try:
            with budget.request(counts=True):
                pass
        except QuotaExhausted:
            return sent
    return number


def _is_admitted(budget: SharedBudget) -> bool:
    try:
        with budget.request(counts=False):
            return True
    except DatabaseUnavailable:
        return False


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_terminate_backend(pg_backend_pid())",
        "DO $$ BEGIN RAISE lock_not_available; END $$",
    ],
    ids=["broken connection", "lock time-out"],
)
def test_a_lost_notification_is_logged_and_fails_no_renewal(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    statement: str,
) -> None:
    monkeypatch.setattr(
        leases, "notify", lambda database, _channel, _payloads: database.run(statement)
    )
    key, limits = leases.UpstreamKey("registry.example"), UpstreamLimits(concurrent=1)
    first, second = (leases.UpstreamLeases(database, uuid4()) for _ in range(2))
    assert first.renew(key, limits, leases.Usage(in_use=1)).slots == 1
    share = second.renew(key, limits, leases.Usage())
    assert (share.slots, share.is_short) == (0, True)
    assert [record.message for record in caplog.records if record.name == leases.__name__] == [
        "notification of upstream not sent"
    ]
    second.block(key, 60)
    blocked = first.renew(key, limits, leases.Usage(in_use=1)).blocked
    assert blocked is not None
    assert blocked > 50


# Pauses -------------------------------------------------------------------------------------


def test_a_pause_applies_to_all_processes_and_ends(database: Database) -> None:
    first, second = budget_of(database), budget_of(database)
    with second.request(counts=False):
        pass
    with pytest.raises(RateLimited), first.request(counts=False):
        raise RateLimited("wait", 2)
    for budget in (first, second):
        budget.refresh()
        with pytest.raises(RateLimited) as refused, budget.request(counts=False):
            pass
        assert 0 < refused.value.seconds <= 2
    time.sleep(2)
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


# Pulls --------------------------------------------------------------------------------------


def pull(budget: SharedBudget, remaining: str | None = None, limit: str | None = None) -> None:
    headers = Message()
    if remaining is not None:
        headers["RateLimit-Remaining"] = remaining
    if limit is not None:
        headers["RateLimit-Limit"] = limit
    with budget.request(counts=True) as turn:
        turn.responded(200, headers)


def test_processes_share_the_pulls_of_a_period(database: Database) -> None:
    limits = UpstreamLimits(pulls=50, period=3600)
    both = [budget_of(database, limits) for _ in range(2)]
    done, waits = 0, []
    for number in range(100):
        try:
            pull(both[number % 2])
            done += 1
        except QuotaExhausted as exhausted:
            waits.append(exhausted.seconds)
    assert done == 50
    assert all(3000 < seconds <= 3600 for seconds in waits)
    # Requests that are no pulls are permitted.
    with both[0].request(counts=False):
        pass
    database.run("UPDATE upstream SET period_ends = clock_timestamp()")
    for budget in both:
        budget._period_ends = 0
        pull(budget)


def test_unused_pulls_are_returned(database: Database) -> None:
    limits = UpstreamLimits(pulls=100, period=3600)
    clock = Clock()
    budget = budget_of(database, limits, clock)
    for _ in range(5):
        pull(budget)
        clock.now += 11
    budget.refresh()
    with budget.request(counts=False):
        pass
    # Five that were used, and a portion of ten that was handed out.
    assert database.run("SELECT pulls FROM upstream")[0][0] == 15


def test_announced_pulls_are_left_for_others(database: Database) -> None:
    clock = Clock()
    first, second = budget_of(database, clock=clock), budget_of(database)
    pull(first, "30;w=21600", "100;w=21600")
    pull(first, "20;w=21600", "100;w=21600")
    with pytest.raises(QuotaExhausted) as refused:
        pull(first)
    assert 290 < refused.value.seconds <= 300
    with first.request(counts=False):
        pass
    first.refresh()
    with first.request(counts=False):
        pass
    with pytest.raises(QuotaExhausted):
        pull(second)
    clock.now += 301
    database.run("UPDATE upstream SET remaining_at = remaining_at - interval '301 s'")
    pull(first, "90;w=21600", "100;w=21600")
    pull(first)


def test_a_head_request_announces_new_pulls(database: Database) -> None:
    budget = budget_of(database)
    pull(budget, "0", "100")
    with budget.request(counts=False) as turn:
        headers = Message()
        headers["RateLimit-Remaining"] = "100;w=21600"
        headers["RateLimit-Limit"] = "100;w=21600"
        turn.responded(200, headers)
    pull(budget)


def test_malformed_announcements_are_ignored(database: Database) -> None:
    budget = budget_of(database)
    for text in ("", "many", "-1", "1e9", "99999999999999999999"):
        pull(budget, text, text)
    pull(budget)


def test_responses_are_counted_by_status(database: Database) -> None:
    def counted(status: str) -> float:
        labels = {"upstream": REFERENCE.host, "status": status}
        return REGISTRY.get_sample_value("atoll_upstream_requests_total", labels) or 0

    before = counted("200"), counted("404")
    budget = budget_of(database)
    pull(budget)
    with budget.request(counts=False) as turn:
        turn.responded(404, Message())
    assert (counted("200") - before[0], counted("404") - before[1]) == (1, 1)


# With an upstream ---------------------------------------------------------------------------


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
        upstream.fail("manifest", faults.too_many_requests("4"), after=6)
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
        assert max(pauses[:2]) > 3.5
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
