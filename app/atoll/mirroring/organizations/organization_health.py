"""The health of the mirror of an organization: its discovery and the runs of its repositories."""

from __future__ import annotations

from dataclasses import dataclass, replace

from atoll.mirroring.health import Issue, MirrorHealth, MirrorHealthReporter
from atoll.mirroring.mirror_records import FAIL
from atoll.mirroring.organizations.organization_status import (
    OrganizationStatus,
    OrganizationStatuses,
)

# Repositories that are named.
_LISTED = 5


@dataclass(frozen=True)
class OrganizationHealth:
    """The health of the mirror of an organization.

    Attributes:
        mirrors: The health of the mirrors of its repositories, with the problems of the discovery.
        discovery: The discovery of repositories.
        conflicts: The number of repositories that cannot be mirrored here.
    """

    mirrors: MirrorHealth
    discovery: OrganizationStatus
    conflicts: int


class OrganizationHealthReporter:
    """Reads the health of mirrors of organizations."""

    def __init__(self, mirrors: MirrorHealthReporter, statuses: OrganizationStatuses) -> None:
        """Provide the health of mirrors.

        Args:
            mirrors: Reads the health of mirrors of repositories.
            statuses: Reads the state of discoveries.
        """
        self._mirrors = mirrors
        self._statuses = statuses

    def check(self, organization: str) -> OrganizationHealth:
        """Return the health of the mirror of an organization.

        It is unhealthy if the mirrors of its repositories are, if no discovery succeeded for two
        intervals, or if the last one failed and used all retries.

        Raises:
            OrganizationMirrorUnknown: The organization is no mirror.
        """
        discovery = self._statuses.one(organization)
        mirrors = self._mirrors.check(organization)
        _, failing = self._statuses.repositories(organization, FAIL)
        conflicts = [one for one in failing if one.repository is None]
        issues = list(mirrors.issues)
        has_failed = discovery.sync_status == FAIL and not discovery.retries_remaining
        is_unhealthy = discovery.is_enabled and (discovery.is_overdue or has_failed)
        if is_unhealthy:
            issues.insert(0, Issue("critical", discovery.problem))
        issues += [
            Issue("warning", f"Repository {organization}/{one.name} is no mirror: {one.message}")
            for one in conflicts[:_LISTED]
        ]
        found = replace(mirrors, healthy=mirrors.healthy and not is_unhealthy, issues=issues)
        return OrganizationHealth(found, discovery, len(conflicts))
