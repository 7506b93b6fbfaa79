"""Verify that a mirror of an organization can list its upstream, while a user waits."""

from __future__ import annotations

from atoll.auth.secrets import SecretUnreadable
from atoll.config import Bundle
from atoll.mirroring.limited_upstreams import LimitedUpstreams
from atoll.mirroring.organizations.listing import list_repositories
from atoll.mirroring.organizations.organization_mirrors import OrganizationMirrors
from atoll.mirroring.organizations.records import OrganizationMirror
from atoll.mirroring.organizations.sources import SOURCES
from atoll.mirroring.verification import VERIFICATION_SECONDS
from atoll.upstream.errors import UpstreamError


class OrganizationVerification:
    """Verifies mirrors; nothing is shared with discoveries, and nothing is changed."""

    def __init__(self, mirrors: OrganizationMirrors, bundle: Bundle, ca_bundle: str | None) -> None:
        """Provide verifications.

        Args:
            mirrors: The mirrors.
            bundle: The bundle, for permitted destinations.
            ca_bundle: A file of CA certificates; None to use those of the system.
        """
        self._mirrors = mirrors
        self._upstreams = LimitedUpstreams(bundle, ca_bundle)

    def verify(self, mirror: OrganizationMirror) -> tuple[bool, str]:
        """Connect to the upstream of a mirror with its credentials, and list the repositories.

        Returns:
            Whether they could be listed, and their numbers or the problem.
        """
        try:
            with self._upstreams.opened(VERIFICATION_SECONDS) as upstreams:
                settings = self._mirrors.settings(mirror)
                documents = upstreams.documents(settings.reference, settings.access)
                namespace, credentials = settings.reference.repository, settings.access.credentials
                source = SOURCES[settings.kind](documents, namespace, credentials)
                listed = list_repositories(source, namespace)
        except (UpstreamError, SecretUnreadable) as error:
            return False, str(error)
        selected = sum(settings.selects(name) for name in listed)
        return (
            True,
            f"the upstream has {len(listed)} repositories, of which {selected} are selected",
        )
