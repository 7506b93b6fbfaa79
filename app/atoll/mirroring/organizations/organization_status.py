"""The state of mirrors of organizations and of their repositories, for people and monitoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from atoll.db.pool import Database
from atoll.mirroring.errors import OrganizationMirrorUnknown, organization_mirror_unknown
from atoll.mirroring.mirror_records import FAIL, NEVER_RUN, STATUSES
from atoll.mirroring.organizations.records import (
    CONFLICT,
    OF_ORGANIZATION,
    REFERENCE,
    SKIP,
    SKIPPED,
    OrganizationMirror,
    organization_mirror,
)
from atoll.mirroring.rules.schedule import Schedule

# Quay's statuses of repositories.
REPOSITORY_STATUSES = (*STATUSES, SKIP)

# A report names this number of mirrors at most.
_NAMED_MAXIMUM = 10

_STATUS = f"""
CASE found.state WHEN '{SKIPPED}' THEN '{SKIP}' WHEN '{CONFLICT}' THEN '{FAIL}'
                 ELSE coalesce(mirror.sync_status, '{NEVER_RUN}') END
"""
_FOUND = """
orgmirrorrepository found JOIN orgmirrorconfig m ON m.id = found.org_mirror_id
JOIN "user" o ON o.id = m.organization_id
LEFT JOIN repository r ON r.namespace_user_id = m.organization_id AND r.name = found.name
LEFT JOIN repomirrorconfig mirror ON mirror.repository_id = r.id AND mirror.org_mirror_id = m.id
"""

# One row for each repository, after the number of all of them. A page without repositories has one
# row of nulls.
_REPOSITORIES = f"""
WITH selected AS (
    SELECT found.name, {_STATUS} AS status, found.discovered_at, mirror.id AS mirror_id,
        coalesce(found.message, mirror.status_message) AS message,
        CASE WHEN mirror.id IS NOT NULL THEN o.username || '/' || r.name END AS repository
    FROM {_FOUND}
    WHERE o.username = %(organization)s AND (%(status)s::text IS NULL OR {_STATUS} = %(status)s)
), page AS (
    SELECT name, status, discovered_at,
        (SELECT max(finished_at) FROM mirrorrun run WHERE run.mirror_id = selected.mirror_id),
        message, repository
    FROM selected ORDER BY name LIMIT %(limit)s OFFSET %(offset)s
)
SELECT (SELECT count(*) FROM selected), page.*
FROM orgmirrorconfig m JOIN "user" o ON o.id = m.organization_id LEFT JOIN page ON true
WHERE o.username = %(organization)s ORDER BY page.name
"""

_WITH_COUNTS = f"""
SELECT one.*, (
    SELECT jsonb_object_agg(status, number) FROM (
        SELECT {_STATUS} AS status, count(*) AS number FROM {_FOUND}
        WHERE m.id = one.id GROUP BY 1) counted
    ) AS repositories
FROM ({OF_ORGANIZATION}) one
"""

_COUNTS = f"""
SELECT o.username, {_STATUS}, count(*) FROM {_FOUND}
WHERE o.username = ANY(%(organizations)s) GROUP BY 1, 2
"""

_LAST_SUCCESS = "coalesce(m.last_success_at, greatest(m.created_at, m.sync_start_date))"
_MIRRORS = f"""
SELECT o.username, robot.username, m.external_registry_type, {REFERENCE}, m.is_enabled,
    m.visibility, m.repository_filters, m.sync_interval, m.sync_status, m.reason,
    m.status_message, m.retries_remaining, m.next_at, m.started_at, m.finished_at,
    m.last_success_at,
    greatest(0, extract(epoch FROM now() - {_LAST_SUCCESS}))::float8,
    now(), {_LAST_SUCCESS}, m.sync_start_date, m.options ->> 'hours'
FROM orgmirrorconfig m JOIN "user" o ON o.id = m.organization_id
JOIN "user" robot ON robot.id = m.internal_robot_id
WHERE (%(organization)s::text IS NULL OR o.username = %(organization)s)
  AND (%(status)s::text IS NULL OR m.sync_status = %(status)s) AND o.username > %(after)s
ORDER BY o.username LIMIT %(limit)s
"""


@dataclass(frozen=True)
class RepositoryStatus:
    """A repository that an upstream lists, or listed.

    Attributes:
        name: its name without the namespace.
        status: one of REPOSITORY_STATUSES.
        discovered_at: when it was listed first.
        last_sync_at: when its last run ended.
        message: a text for people.
        repository: the repository as `namespace/name`; None if it is no mirror.
    """

    name: str
    status: str
    discovered_at: datetime
    last_sync_at: datetime | None
    message: str | None
    repository: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return _for_json(asdict(self))


@dataclass(frozen=True)
class OrganizationStatus:
    """A mirror of an organization and its last discovery.

    Attributes:
        kind: the kind of registry.
        reference: the upstream's URL and namespace.
        interval: seconds between discoveries.
        sync_status: the state of the current or last discovery, one of STATUSES.
        reason: the code of its failure.
        seconds_without_success: seconds since the last success, or since the mirror's start.
        repositories: the numbers of repositories by their statuses.
        is_overdue: whether discoveries on schedule have not succeeded for two intervals. Time
            outside of the hours in which they begin does not count.
    """

    organization: str
    robot: str
    kind: str
    reference: str
    is_enabled: bool
    visibility: str
    filters: list[str]
    interval: int
    sync_status: str
    reason: str | None
    message: str | None
    retries_remaining: int
    next_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    last_success_at: datetime | None
    seconds_without_success: float
    repositories: dict[str, int]
    is_overdue: bool = False

    @property
    def problem(self) -> str:
        """Why the mirror is overdue, as a sentence."""
        hours = self.seconds_without_success / 3600
        cause = ": ".join(text for text in (self.reason, self.message) if text)
        return (
            f"the repositories of the mirrored organization {self.organization} have not been"
            f" discovered for {hours:.1f} h ({self.sync_status}{f', {cause}' if cause else ''})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return _for_json(asdict(self))


@dataclass(frozen=True)
class OrganizationSummary:
    """All mirrors of organizations together.

    Attributes:
        mirrors: the mirrors.
    """

    mirrors: Sequence[OrganizationStatus]

    @property
    def failed(self) -> int:
        """The number of mirrors whose last discovery failed."""
        return sum(one.sync_status == FAIL for one in self.mirrors)

    @property
    def overdue(self) -> list[OrganizationStatus]:
        """The mirrors without a recent success, oldest first."""
        found = [one for one in self.mirrors if one.is_overdue]
        return sorted(found, key=lambda one: -one.seconds_without_success)

    @property
    def repositories(self) -> dict[str, int]:
        """The numbers of the repositories of all mirrors by their statuses."""
        return {
            status: sum(one.repositories[status] for one in self.mirrors)
            for status in REPOSITORY_STATUSES
        }

    def problems(self) -> list[str]:
        """Return one sentence for each of the longest overdue mirrors, and one for the rest."""
        found = [one.problem for one in self.overdue[:_NAMED_MAXIMUM]]
        if (more := len(self.overdue) - _NAMED_MAXIMUM) > 0:
            found.append(f"{more} more mirrored organizations have had no recent discovery")
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the counts for JSON."""
        return {
            "mirrors": len(self.mirrors),
            "failed": self.failed,
            "overdue": len(self.overdue),
            "repositories": self.repositories,
        }


class OrganizationStatuses:
    """Read the state of mirrors. Every method may raise DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[OrganizationStatus]:
        """Return all mirrors, by organization."""
        return self._mirrors()

    def page(
        self, limit: int, *, status: str | None = None, after: str = ""
    ) -> list[OrganizationStatus]:
        """Return the first mirrors by organization.

        Args:
            limit: the maximum number of mirrors.
            status: one of STATUSES; None for mirrors in any status.
            after: the organization that the list begins after.
        """
        return self._mirrors(limit=limit, status=status, after=after)

    def one(self, organization: str) -> OrganizationStatus:
        """Return the mirror of an organization.

        Raises:
            OrganizationMirrorUnknown: The organization is no mirror.
        """
        for found in self._mirrors(organization=organization):
            return found
        raise OrganizationMirrorUnknown(
            f"the organization '{organization}' is no mirror;"
            " `atoll mirror organization list` lists the mirrors"
        )

    def summary(self) -> OrganizationSummary:
        """Return all mirrors together."""
        return OrganizationSummary(self.all())

    def repositories(
        self,
        organization: str,
        status: str | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
    ) -> tuple[int, list[RepositoryStatus]]:
        """Return the number of repositories of a mirror, and a page of them by name.

        Args:
            organization: the organization.
            status: one of REPOSITORY_STATUSES; None for repositories with any status.
            limit: the maximum number of repositories.
            offset: the number of repositories to leave out.

        Raises:
            OrganizationMirrorUnknown: The organization is no mirror.
        """
        values = {
            "organization": organization,
            "status": status,
            "limit": limit,
            "offset": offset,
        }
        rows = self._database.read(_REPOSITORIES, values)
        if not rows:
            raise organization_mirror_unknown(organization)
        page = [RepositoryStatus(*row[1:]) for row in rows if row[1] is not None]
        return rows[0][0], page

    def with_counts(self, organization: str) -> tuple[OrganizationMirror, dict[str, int]]:
        """Return a mirror, and the numbers of its repositories by each of REPOSITORY_STATUSES.

        Raises:
            OrganizationMirrorUnknown: The organization is no mirror.
        """
        for row in self._database.read(_WITH_COUNTS, {"organization": organization}):
            return organization_mirror(row), {**_no_repositories(), **(row["repositories"] or {})}
        raise organization_mirror_unknown(organization)

    def _mirrors(self, **conditions: Any) -> list[OrganizationStatus]:
        values = {"organization": None, "status": None, "after": "", "limit": None, **conditions}
        rows = self._database.read(_MIRRORS, values)
        counts = self._counts([row[0] for row in rows]) if rows else {}
        return [_status(row, counts.get(row[0], _no_repositories())) for row in rows]

    def _counts(self, organizations: list[str]) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        values = {"organizations": organizations}
        rows: Sequence[Sequence[Any]] = self._database.read(_COUNTS, values)
        for name, status, count in rows:
            found.setdefault(name, _no_repositories())[status] = count
        return found


# The number of columns before those of the schedule.
_OWN_COLUMNS = 17


def _status(row: Sequence[Any], repositories: dict[str, int]) -> OrganizationStatus:
    now, success, start, hours = row[_OWN_COLUMNS:]
    found = OrganizationStatus(*(*row[:_OWN_COLUMNS], repositories))
    schedule = Schedule.within(start, found.interval, hours)
    return replace(found, is_overdue=found.is_enabled and now > schedule.overdue_at(success))


def _no_repositories() -> dict[str, int]:
    return dict.fromkeys(REPOSITORY_STATUSES, 0)


def _for_json(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in fields.items()
    }
