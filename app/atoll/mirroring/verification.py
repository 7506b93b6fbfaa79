"""Verify that a mirror can read its upstream, while a user waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from atoll.auth.secrets import SecretUnreadable
from atoll.config import Bundle
from atoll.mirroring.mirror_records import Mirror
from atoll.mirroring.mirrors import Mirrors
from atoll.outbound.connection import Limits
from atoll.upstream.budget import Turn, Unlimited
from atoll.upstream.errors import UpstreamError, UpstreamTimedOut
from atoll.upstream.upstreams import Upstreams

# Seconds after which no further request is sent, and the limits of one request.
_PATIENCE = 15.0
VERIFICATION_LIMITS = Limits(connect=5, idle=5, total=10)


@dataclass(frozen=True)
class Verified:
    """The result of a verification.

    Attributes:
        success: Whether the tags of the upstream could be listed.
        message: The number of tags, or the problem.
        tags: The number of tags; None after a failure.
    """

    success: bool
    message: str
    tags: int | None = None


class LimitedTime(Unlimited):
    """Refuses requests after some seconds, because listings may have any number of pages."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Begin the time.

        Args:
            monotonic: The clock.
        """
        self._monotonic = monotonic
        self._end = monotonic() + _PATIENCE

    @contextmanager
    def request(self, *, counts: bool) -> Iterator[Turn]:
        """Permit a request unless the time is over. Raises UpstreamTimedOut."""
        if self._monotonic() > self._end:
            raise UpstreamTimedOut(f"the upstream needs more than {_PATIENCE:.0f} s for its list")
        with super().request(counts=counts) as turn:
            yield turn


class Verification:
    """Verifies mirrors; nothing is shared with the runs of mirrors, and nothing is changed."""

    def __init__(
        self,
        mirrors: Mirrors,
        bundle: Bundle,
        ca_bundle: str | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Provide verifications.

        Args:
            mirrors: The mirrors.
            bundle: The bundle, for permitted destinations.
            ca_bundle: A file of CA certificates; None to use those of the system.
            monotonic: The clock.
        """
        self._mirrors = mirrors
        self._bundle = bundle
        self._ca_bundle = ca_bundle
        self._monotonic = monotonic

    def verify(self, mirror: Mirror) -> Verified:
        """Connect to the upstream of a mirror with its credentials, and list the tags."""
        upstreams = Upstreams.from_bundle(
            self._bundle,
            self._ca_bundle,
            lambda _reference, _access: LimitedTime(self._monotonic),
            limits=VERIFICATION_LIMITS,
        )
        try:
            settings = self._mirrors.settings(mirror)
            tags = upstreams.client(settings.reference, settings.access).tags()
        except (UpstreamError, SecretUnreadable) as error:
            return Verified(success=False, message=str(error))
        finally:
            upstreams.close()
        count = len(tags.names)
        return Verified(success=True, message=f"the upstream has {count} tags", tags=count)
