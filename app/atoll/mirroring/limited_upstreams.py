"""Clients of upstreams for requests that a user waits for, which end after some seconds.

Those of plans count in the budgets that all processes share.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from atoll.config import Bundle
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.outbound.connection import Limits
from atoll.upstream.access import Access
from atoll.upstream.budget import Budget, Turn, Unlimited
from atoll.upstream.errors import UpstreamTimedOut
from atoll.upstream.limits import configured_limits
from atoll.upstream.reference import UpstreamReference
from atoll.upstream.shared_budget import SharedBudgets
from atoll.upstream.upstreams import Upstreams

log = logging.getLogger(__name__)

# The limits of one request, in seconds.
_LIMITS = Limits(connect=5, idle=5, total=10)


class _LimitedTime:
    """A budget that permits requests until a time, because upstreams may have any number of tags.

    Implements `atoll.upstream.budget.Budget`.
    """

    def __init__(self, budget: Budget, check: Callable[[], None]) -> None:
        self._budget = budget
        self._check = check

    @contextmanager
    def request(self, *, counts: bool) -> Iterator[Turn]:
        self._check()
        with self._budget.request(counts=counts) as turn:
            yield turn

    @contextmanager
    def hold(self, waiting: Callable[[], None]) -> Iterator[Budget]:
        def limited() -> None:
            waiting()
            self._check()

        with self._budget.hold(limited) as held:
            yield _LimitedTime(held, self._check)


class LimitedUpstreams:
    """Makes clients that share only the budgets of upstreams with the runs of mirrors."""

    def __init__(
        self,
        bundle: Bundle,
        ca_bundle: str | None,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        database: Database | None = None,
    ) -> None:
        """Provide the clients.

        Args:
            bundle: The bundle, for permitted destinations and UPSTREAM_LIMITS.
            ca_bundle: A file of CA certificates; None to use those of the system.
            monotonic: The clock.
            database: Where the budgets are shared; None for single lists, which do not count.
        """
        self._database = database
        self._bundle = bundle
        self._ca_bundle = ca_bundle
        self._monotonic = monotonic

    @contextmanager
    def opened(self, seconds: float) -> Iterator[Upstreams]:
        """Open clients that send no request after some seconds."""
        end = self._monotonic() + seconds

        def check() -> None:
            if self._monotonic() > end:
                raise UpstreamTimedOut(f"the upstream needs more than {seconds:.0f} s for its list")

        # A holder of its own, whose shares end with the plan.
        limits = configured_limits(self._bundle)
        budgets = None if self._database is None else SharedBudgets(self._database, limits)

        def make_budget(reference: UpstreamReference, access: Access) -> Budget:
            budget = Unlimited() if budgets is None else budgets.budget(reference, access)
            return _LimitedTime(budget, check)

        upstreams = Upstreams.from_bundle(
            self._bundle, self._ca_bundle, make_budget, limits=_LIMITS
        )
        try:
            yield upstreams
        finally:
            upstreams.close()
            if budgets is not None:
                _give_back(budgets)


def _give_back(budgets: SharedBudgets) -> None:
    try:
        budgets.give_back()
    except DatabaseUnavailable as error:
        log.warning("shares of upstreams not returned", extra={"cause": str(error)})
