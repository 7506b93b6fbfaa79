"""Verify that a mirror can read its upstream, while a user waits."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.auth.secrets import SecretUnreadable
from atoll.config import Bundle
from atoll.mirroring.limited_upstreams import LimitedUpstreams
from atoll.mirroring.mirror_records import Mirror
from atoll.mirroring.mirrors import Mirrors
from atoll.upstream.errors import UpstreamError

# Seconds after which no further request is sent.
VERIFICATION_SECONDS = 15.0


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


class Verification:
    """Verifies mirrors; nothing is shared with the runs of mirrors, and nothing is changed."""

    def __init__(self, mirrors: Mirrors, bundle: Bundle, ca_bundle: str | None) -> None:
        """Provide verifications.

        Args:
            mirrors: The mirrors.
            bundle: The bundle, for permitted destinations.
            ca_bundle: A file of CA certificates; None to use those of the system.
        """
        self._mirrors = mirrors
        self._upstreams = LimitedUpstreams(bundle, ca_bundle)

    def verify(self, mirror: Mirror) -> Verified:
        """Connect to the upstream of a mirror with its credentials, and list the tags."""
        try:
            with self._upstreams.opened(VERIFICATION_SECONDS) as upstreams:
                settings = self._mirrors.settings(mirror)
                tags = upstreams.client(settings.reference, settings.access).tags()
        except (UpstreamError, SecretUnreadable) as error:
            return Verified(success=False, message=str(error))
        count = len(tags.names)
        return Verified(success=True, message=f"the upstream has {count} tags", tags=count)
