"""All processes of all sites share the slots of one budget for an upstream."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing
from uuid import uuid4

import pytest
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.upstream import leases, shared_budget
from atoll.upstream.access import Access
from atoll.upstream.errors import (
    Paused,
    QuotaExhausted,
)
from atoll.upstream.limits import UpstreamLimits
from atoll.upstream.shared_budget import SharedBudget

from ..integration.services import wait_until
from ..unit.clock import Clock
from .upstream_budgets import REFERENCE, budget_of, budgets_of, hold, listening, slots


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


def test_an_idle_process_returns_its_slots_to_a_waiting_one(database: Database) -> None:
    clock = Clock()
    one, other = budgets_of(database, clock=clock), budgets_of(database)
    first, second = (budgets.budget(REFERENCE, Access()) for budgets in (one, other))
    with listening(one, other), ExitStack() as stack:
        with ExitStack() as requests:
            hold(requests, first, 4)
        clock.now += 1
        hold(stack, second, 4)
        # The lease of the first process has not expired, else its row would be gone.
        assert slots(database) == [0, 4]


def test_a_process_returns_its_slots_when_it_becomes_idle(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_budget, "_LISTENER_SECONDS", 0.05)
    clock = Clock()
    budgets = budgets_of(database, clock=clock)
    budget = budgets.budget(REFERENCE, Access())
    with listening(budgets):
        with ExitStack() as requests:
            hold(requests, budget, 4)
        # A run pauses for moments between its requests.
        budget.release()
        assert slots(database) == [4]
        clock.now += 1
        wait_until("the slots are returned", lambda: slots(database) == [0])
        hold(requests, budget)


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
