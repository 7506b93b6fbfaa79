"""All processes of all sites share the pulls of a period."""

from __future__ import annotations

from email.message import Message

import pytest
from atoll.db.pool import Database
from atoll.upstream.errors import (
    QuotaExhausted,
)
from atoll.upstream.limits import UpstreamLimits
from atoll.upstream.shared_budget import SharedBudget
from prometheus_client import REGISTRY

from ..unit.clock import Clock
from .upstream_budgets import REFERENCE, budget_of


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
