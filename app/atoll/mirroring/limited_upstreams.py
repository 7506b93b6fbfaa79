"""Clients of upstreams for requests that a user waits for, or that are sent for a limited time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from atoll.config import Bundle
from atoll.outbound.connection import Limits
from atoll.upstream.budget import Turn, Unlimited
from atoll.upstream.errors import UpstreamTimedOut
from atoll.upstream.upstreams import Upstreams

# The limits of one request, in seconds.
_LIMITS = Limits(connect=5, idle=5, total=10)


class _LimitedTime(Unlimited):
    """Refuses requests after some seconds, because listings may have any number of pages."""

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._end = monotonic() + seconds

    @contextmanager
    def request(self, *, counts: bool) -> Iterator[Turn]:
        if self._monotonic() > self._end:
            raise UpstreamTimedOut(
                f"the upstream needs more than {self._seconds:.0f} s for its list"
            )
        with super().request(counts=counts) as turn:
            yield turn


class LimitedUpstreams:
    """Makes clients that share nothing with the runs of mirrors."""

    def __init__(
        self,
        bundle: Bundle,
        ca_bundle: str | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Provide the clients.

        Args:
            bundle: The bundle, for permitted destinations.
            ca_bundle: A file of CA certificates; None to use those of the system.
            monotonic: The clock.
        """
        self._bundle = bundle
        self._ca_bundle = ca_bundle
        self._monotonic = monotonic

    @contextmanager
    def opened(self, seconds: float) -> Iterator[Upstreams]:
        """Open clients that send no request after some seconds."""
        upstreams = Upstreams.from_bundle(
            self._bundle,
            self._ca_bundle,
            lambda _reference, _access: _LimitedTime(seconds, self._monotonic),
            limits=_LIMITS,
        )
        try:
            yield upstreams
        finally:
            upstreams.close()
