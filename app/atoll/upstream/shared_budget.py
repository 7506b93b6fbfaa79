"""The budget of an upstream that all processes of all sites share."""

from __future__ import annotations

import hashlib
import http.client
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from email.message import Message
from uuid import UUID, uuid4

import psycopg2
from prometheus_client import Counter

from atoll.breaker import Breaker
from atoll.db.notifications import listen_until
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.upstream.access import Access
from atoll.upstream.budget import Budget
from atoll.upstream.errors import (
    CircuitOpen,
    Paused,
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    TlsError,
    Unreachable,
    UpstreamTimedOut,
)
from atoll.upstream.leases import (
    CHANNEL,
    RENEW_SECONDS,
    Share,
    UpstreamKey,
    UpstreamLeases,
    Usage,
)
from atoll.upstream.limits import UpstreamLimits
from atoll.upstream.numbers import natural
from atoll.upstream.reference import UpstreamReference

log = logging.getLogger(__name__)

REQUESTS = Counter(
    "atoll_upstream_requests",
    "Responses of upstreams to requests of this process, by status",
    ["upstream", "status"],
)

# Seconds between renewals while slots are redistributed.
_WAITING_SECONDS = 1.0
# The longest wait of a single request for a slot in seconds, and the pause that its caller is then
# asked for.
_PATIENCE = 30.0
_BUSY_SECONDS = 5.0
# Seconds without a request after which a process returns its slots. Runs pause shorter than that
# between two requests, and a share that changes hands costs two statements.
_IDLE_SECONDS = 1.0
# Seconds after which an announcement of remaining pulls is not believed any more, because most
# upstreams use a sliding period.
_BELIEVED_SECONDS = 300.0
_UPSTREAM_FAILURES = (Unreachable, UpstreamTimedOut, ServerFailed, TlsError)
_LISTENER_SECONDS = 5.0


class SharedBudget:
    """The share of this process in the budget of one upstream; thread-safe.

    Implements `atoll.upstream.budget.Budget`.
    """

    def __init__(
        self,
        leases: UpstreamLeases,
        key: UpstreamKey,
        limits: UpstreamLimits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a budget.

        Args:
            leases: The shares of this process.
            key: The upstream and account.
            limits: The permitted use.
            monotonic: The clock.
        """
        self._leases = leases
        self._key = key
        self._limits = limits
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._breaker = Breaker()
        self._in_use = 0
        self._waiting = 0
        # The most requests that were in progress or waiting since the last renewal, and how many
        # that renewal asked for.
        self._peak = 0
        self._asked = 0
        # When the last request ended.
        self._idle_since = 0.0
        self._renewing = False
        self._renew_at = 0.0
        self._share: Share | None = None
        self._pulls: int | None = None
        self._period_ends = 0.0
        self._blocked_until = 0.0
        # What the upstream announced: the remaining pulls, of how many, and when.
        self._remaining: int | None = None
        self._allowance: int | None = None
        self._announced_at = 0.0
        self._is_news = False

    @property
    def upstream_id(self) -> int | None:
        """The row of the upstream; None before the first request."""
        return self._share.upstream_id if self._share is not None else None

    def refresh(self) -> None:
        """Renew the share before the next request, because another process changed the state."""
        with self._changed:
            self._renew_at = 0.0
            self._changed.notify_all()

    def release(self) -> None:
        """Return the slots if no request needed them for a second, so that others need not wait.

        Without it, a process that has nothing to do any more keeps them until its lease expires.
        """
        with self._changed:
            has_slots = self._share is not None and self._share.slots > 0
            if not has_slots or self._in_use or self._waiting or self._renewing:
                return
            now = self._monotonic()
            if now < self._idle_since + _IDLE_SECONDS:
                return
            self._peak = 0
            try:
                self._renew(now)
            except (DatabaseUnavailable, psycopg2.Error) as error:
                log.warning(
                    "slots of upstream not returned",
                    extra={"upstream": self._key.host, "cause": str(error)},
                )

    @contextmanager
    def request(self, *, counts: bool) -> Iterator[SharedBudget]:
        """Wait for the permission to send a request; see `Budget.request`.

        Raises:
            Paused: No request may be sent for some time, or all slots are in use.
            DatabaseUnavailable: The database cannot be reached.
        """
        with self._slot(counts=counts), self._recorded():
            yield self

    @contextmanager
    def hold(self, waiting: Callable[[], None]) -> Iterator[Budget]:
        """Wait for a slot as long as `waiting` permits, and hold it; see `Budget.hold`.

        Raises:
            Paused: No request may be sent for some time.
            DatabaseUnavailable: The database cannot be reached.
        """
        with self._slot(counts=False, waiting=waiting):
            yield _HeldSlot(self)

    @contextmanager
    def request_in_slot(self, *, counts: bool) -> Iterator[SharedBudget]:
        """Wait for the permission to send a request in a slot that the caller holds."""
        with self._changed:
            self._wait(counts=counts, has_slot=True)
            self._count_pull(counts=counts)
        with self._recorded():
            yield self

    def responded(self, status: int, headers: Message) -> None:
        """Record a response and the pulls that the upstream announces to be left."""
        REQUESTS.labels(self._key.host, str(status)).inc()
        remaining = _number(headers.get("RateLimit-Remaining"))
        with self._changed:
            if status < http.client.INTERNAL_SERVER_ERROR:
                self._breaker.succeeded()
            if remaining is not None:
                self._remaining = remaining
                self._allowance = _number(headers.get("RateLimit-Limit"))
                self._announced_at = self._monotonic()
                self._is_news = True

    @contextmanager
    def _slot(self, *, counts: bool, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        with self._changed:
            self._waiting += 1
            self._peak = max(self._peak, self._in_use + self._waiting)
            try:
                self._wait(counts=counts, waiting=waiting)
            finally:
                self._waiting -= 1
            self._in_use += 1
            self._count_pull(counts=counts)
        try:
            yield
        finally:
            with self._changed:
                self._in_use -= 1
                self._idle_since = self._monotonic()
                self._changed.notify()

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """Record the errors of a request."""
        try:
            yield
        except RateLimited as error:
            self._block(error.seconds)
            raise
        except _UPSTREAM_FAILURES:
            with self._changed:
                self._breaker.failed(self._monotonic())
            raise

    def _count_pull(self, *, counts: bool) -> None:
        if counts and self._pulls is not None:
            self._pulls -= 1

    def _wait(
        self, *, counts: bool, has_slot: bool = False, waiting: Callable[[], None] | None = None
    ) -> None:
        """Wait until a request may be sent, and for a slot unless the caller has one."""
        patience_ends = self._monotonic() + _PATIENCE
        while True:
            now = self._monotonic()
            self._check_pauses(now)
            if self._must_renew(now, counts=counts):
                if not self._renewing:
                    self._renew(now)
                    continue
            else:
                if counts:
                    self._check_quota(now)
                if has_slot or (self._share is not None and self._in_use < self._share.slots):
                    return
            if waiting is None and now >= patience_ends:
                raise Paused(
                    f"all permitted connections to '{self._key.host}' are in use", _BUSY_SECONDS
                )
            self._changed.wait(_WAITING_SECONDS)
            if waiting is not None:
                self._call(waiting)

    def _call(self, waiting: Callable[[], None]) -> None:
        """Call a function that may take its time; the lock is released meanwhile."""
        self._changed.release()
        try:
            waiting()
        finally:
            self._changed.acquire()

    def _must_renew(self, now: float, *, counts: bool) -> bool:
        if now >= self._renew_at or min(self._peak, self._limits.concurrent) > self._asked:
            return True
        # The portion of pulls is used up.
        return counts and self._pulls == 0 and now >= self._period_ends

    def _check_pauses(self, now: float) -> None:
        if (seconds := self._blocked_until - now) > 0:
            raise RateLimited(f"'{self._key.host}' asked for a pause of {seconds:.0f} s", seconds)
        if (seconds := self._breaker.seconds(now)) > 0:
            raise CircuitOpen(
                f"'{self._key.host}' failed repeatedly and is not asked for {seconds:.0f} s",
                seconds,
            )

    def _check_quota(self, now: float) -> None:
        seconds = 0.0
        if self._pulls == 0:
            seconds = self._period_ends - now
        elif self._remaining is not None:
            reserve = self._limits.reserve * (self._allowance or 0)
            if self._remaining <= reserve:
                seconds = self._announced_at + _BELIEVED_SECONDS - now
        if seconds > 0:
            raise QuotaExhausted(
                f"the permitted pulls from '{self._key.host}' are used up for {seconds:.0f} s",
                seconds,
            )

    def _renew(self, now: float) -> None:
        """Renew the share; the lock is released meanwhile."""
        self._asked = min(self._peak, self._limits.concurrent)
        self._peak = self._in_use + self._waiting
        usage = Usage(
            wanted=self._asked,
            in_use=self._in_use,
            was_short=self._share.is_short if self._share else False,
            unused=self._pulls or 0,
            remaining=self._remaining if self._is_news else None,
            allowance=self._allowance,
        )
        # Pulls whose return fails are lost, not used twice.
        self._pulls = None if self._limits.pulls is None else 0
        self._is_news = False
        self._renew_at = now + RENEW_SECONDS
        self._renewing = True
        self._changed.release()
        try:
            share = self._leases.renew(self._key, self._limits, usage)
        except BaseException:
            share = None
            raise
        finally:
            self._changed.acquire()
            self._renewing = False
            if share is None:
                self._renew_at = 0.0
            else:
                self._apply(share)
            self._changed.notify_all()

    def _apply(self, share: Share) -> None:
        now = self._monotonic()
        self._share = share
        if share.is_short or share.is_contended or share.slots < self._in_use:
            self._renew_at = min(self._renew_at, now + _WAITING_SECONDS)
        self._pulls = share.pulls
        # A portion that is used up is replaced at once, unless the period has no pulls left.
        self._period_ends = 0.0 if share.pulls else now + share.period_left
        # A request may have been refused while the share was read. Pauses are never shortened.
        self._blocked_until = max(self._blocked_until, now + (share.blocked or 0.0))
        if not self._is_news and share.announced is not None:
            self._remaining, self._allowance = share.remaining, share.allowance
            self._announced_at = now - share.announced

    def _block(self, seconds: float) -> None:
        """Stop the requests of this process at once, and of the others by a notification."""
        with self._changed:
            self._blocked_until = max(self._blocked_until, self._monotonic() + seconds)
            self._changed.notify_all()
        try:
            self._leases.block(self._key, seconds)
        except (DatabaseUnavailable, psycopg2.Error) as error:
            log.warning(
                "pause of upstream not shared",
                extra={"upstream": self._key.host, "cause": str(error)},
            )


class _HeldSlot:
    """A budget for requests in a slot that the caller holds. Implements `Budget`."""

    def __init__(self, budget: SharedBudget) -> None:
        self._budget = budget

    def request(self, *, counts: bool) -> AbstractContextManager[SharedBudget]:
        return self._budget.request_in_slot(counts=counts)

    @contextmanager
    def hold(self, waiting: Callable[[], None]) -> Iterator[Budget]:
        del waiting
        yield self


class SharedBudgets:
    """The budgets of a process; thread-safe."""

    def __init__(
        self,
        database: Database,
        limits: Callable[[str], UpstreamLimits] | None = None,
        *,
        holder: UUID | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the budgets of a process.

        Args:
            database: Where the budgets are shared.
            limits: Returns the limits of a registry, such as `docker.io`.
            holder: An id of the process.
            monotonic: The clock.
        """
        self._database = database
        self._limits = limits or (lambda _registry: UpstreamLimits())
        self._leases = UpstreamLeases(database, holder or uuid4())
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: dict[UpstreamKey, SharedBudget] = {}

    def budget(self, reference: UpstreamReference, access: Access) -> SharedBudget:
        """Return the budget of an upstream and account."""
        account = access.credentials.username if access.credentials else ""
        key = UpstreamKey(reference.host, account, _route(access))
        with self._lock:
            if key not in self._known:
                self._known[key] = SharedBudget(
                    self._leases, key, self._limits(reference.registry), self._monotonic
                )
            return self._known[key]

    def listen(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Apply changes by other processes at once, and return unused slots, until stopped.

        Without it, they are applied with the next renewal.

        Args:
            stop: Ends the listening.
            beat: Called every few seconds.
        """

        def release_and_beat() -> None:
            self._release()
            beat()

        listen_until(
            stop,
            self._database,
            CHANNEL,
            _LISTENER_SECONDS,
            heard=self._heard,
            beat=release_and_beat,
        )

    def give_back(self) -> None:
        """Return the shares of this process, so that others need not wait until they expire.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        self._leases.give_back()

    def _heard(self, upstream_ids: frozenset[str] | None) -> None:
        for budget in self._budgets():
            if upstream_ids is None or str(budget.upstream_id) in upstream_ids:
                budget.refresh()

    def _release(self) -> None:
        for budget in self._budgets():
            budget.release()

    def _budgets(self) -> list[SharedBudget]:
        with self._lock:
            return list(self._known.values())


def _route(access: Access) -> str:
    """Return a mark of the settings by which a user can choose which server responds."""
    if access.verify_tls and not access.ca_certificate and access.proxies is None:
        return ""
    chosen = repr((access.verify_tls, access.ca_certificate, access.proxies))
    return hashlib.sha256(chosen.encode()).hexdigest()[:16]


def _number(text: str | None) -> int | None:
    """Parse a value such as `100;w=21600`."""
    return natural((text or "").partition(";")[0])
