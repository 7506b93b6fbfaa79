"""The shares of several processes in the budget of an upstream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from atoll.db.pool import Database
from atoll.upstream.access import Access
from atoll.upstream.leases import CHANNEL
from atoll.upstream.limits import UpstreamLimits
from atoll.upstream.reference import UpstreamReference
from atoll.upstream.shared_budget import SharedBudget, SharedBudgets

from ..unit.clock import Clock

REFERENCE = UpstreamReference.parse("registry.example/team/app")


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
        # A listener looks whether it is to stop after a notification.
        all_budgets[0]._database.run(f"NOTIFY {CHANNEL}, 'none'")
        for thread in threads:
            thread.join()
