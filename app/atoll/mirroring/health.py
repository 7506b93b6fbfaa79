"""The health of all mirrors, or of those of one namespace, in Quay's terms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from atoll.cluster.instances import Instances
from atoll.db.pool import Database

# The role of processes that run mirrors.
MIRROR_ROLE = "mirror"
# Mirrors are unhealthy if a larger share of those that ever ran fails.
_FAILING_MAXIMUM = 0.2
# Problems of one kind that are listed.
_LISTED = 5
_STALE_HOURS = 24

_MIRRORS = """
repomirrorconfig m JOIN repository r ON r.id = m.repository_id
JOIN "user" n ON n.id = r.namespace_user_id
"""

_ARE_ENABLED = """
r.state = 'MIRROR' AND m.is_enabled
  AND (%(namespace)s::text IS NULL OR n.username = %(namespace)s)
"""

_COUNTS = f"""
SELECT count(*), count(*) FILTER (WHERE m.sync_status = 'SYNCING'),
    count(*) FILTER (WHERE m.sync_status = 'SUCCESS'),
    count(*) FILTER (WHERE m.sync_status = 'FAIL'),
    count(*) FILTER (WHERE m.sync_status = 'NEVER_RUN'),
    coalesce(sum((SELECT count(*) FROM mirrortask t
                  WHERE t.run_id = m.run_id AND t.state = 'pending')), 0)::bigint,
    now()
FROM {_MIRRORS} WHERE {_ARE_ENABLED}
"""

# The first mirrors of each kind of problem.
_PROBLEMS = f"""
SELECT kind, name FROM (
    SELECT problem.kind, n.username || '/' || r.name AS name,
           row_number() OVER (PARTITION BY problem.kind ORDER BY n.username, r.name) AS number
    FROM {_MIRRORS} CROSS JOIN LATERAL (
        SELECT 'stale' AS kind WHERE m.sync_status <> 'SYNCING' AND m.sync_interval > 0
          AND m.last_success_at < now() - make_interval(secs => greatest(
              {_STALE_HOURS} * 3600, 2 * m.sync_interval::bigint))
        UNION ALL SELECT 'never' WHERE m.sync_status = 'NEVER_RUN'
        UNION ALL SELECT 'failing' WHERE m.sync_status = 'FAIL' AND m.retries_remaining = 0
    ) AS problem
    WHERE {_ARE_ENABLED}
) AS numbered WHERE number <= {_LISTED} ORDER BY kind, name
"""

_DETAILS = f"""
SELECT n.username, r.name, m.sync_status, m.is_enabled,
    (SELECT max(finished_at) FROM mirrorrun WHERE mirror_id = m.id), m.retries_remaining
FROM {_MIRRORS} WHERE {_ARE_ENABLED}
ORDER BY n.username, r.name LIMIT %(limit)s OFFSET %(offset)s
"""

_TEXTS = {
    "stale": ("warning", "has had no successful run for more than 24 hours"),
    "never": ("warning", "has never been synchronized"),
    "failing": ("error", "failed, and has used all retries"),
}
_ORDER = ("stale", "never", "failing")


@dataclass(frozen=True)
class Issue:
    """A problem.

    Attributes:
        severity: `warning`, `error` or `critical`.
        message: The problem.
    """

    severity: str
    message: str


@dataclass(frozen=True)
class MirrorDetail:
    """A mirror in a list."""

    namespace: str
    repository: str
    sync_status: str
    is_enabled: bool
    last_sync: datetime | None
    retries_remaining: int


@dataclass(frozen=True)
class MirrorHealth:
    """The health of enabled mirrors.

    Attributes:
        healthy: Whether few mirrors fail and enough processes run them.
        workers_active: The number of processes that run mirrors.
        workers_expected: The number that is expected.
        total: The number of enabled mirrors.
        syncing: Those with a run in progress.
        completed: Those whose last run succeeded.
        failed: Those whose last run failed.
        never_run: Those without a run.
        tags_pending: The number of tags that runs have yet to copy.
        checked_at: The time of the check.
        issues: The problems, the most severe first.
    """

    healthy: bool
    workers_active: int
    workers_expected: int
    total: int
    syncing: int
    completed: int
    failed: int
    never_run: int
    tags_pending: int
    checked_at: datetime
    issues: list[Issue]


class MirrorHealthReporter:
    """Reads the health of mirrors."""

    def __init__(self, database: Database, instances: Instances, workers: int) -> None:
        """Provide the health of mirrors.

        Args:
            database: Where mirrors are stored.
            instances: The processes of all sites.
            workers: The expected number of processes that run mirrors.
        """
        self._database = database
        self._instances = instances
        self._workers = workers

    def check(self, namespace: str | None = None, *, named: bool = True) -> MirrorHealth:
        """Return the health of the mirrors of a namespace, or of all.

        Args:
            namespace: The namespace; None for all.
            named: Whether the problems of single mirrors are listed.
        """
        parameters = {"namespace": namespace}
        total, syncing, completed, failed, never_run, pending, now = self._database.read(
            _COUNTS, parameters
        )[0]
        found: dict[str, list[str]] = {}
        for kind, name in self._database.read(_PROBLEMS, parameters) if named else ():
            found.setdefault(kind, []).append(name)
        issues = [
            Issue(_TEXTS[kind][0], f"Repository {name} {_TEXTS[kind][1]}")
            for kind in _ORDER
            for name in found.get(kind, [])
        ]
        active = sum(one.role == MIRROR_ROLE and not one.lost for one in self._instances.all())
        critical = []
        if active < self._workers:
            critical.append(f"{active} of {self._workers} mirror processes are running")
        if failed > _FAILING_MAXIMUM * (total - never_run):
            share = 100 * failed / (total - never_run)
            critical.append(
                f"{share:.1f}% of repositories are failing"
                f" (threshold: {100 * _FAILING_MAXIMUM:.1f}%)"
            )
        return MirrorHealth(
            not critical,
            active,
            self._workers,
            total,
            syncing,
            completed,
            failed,
            never_run,
            pending,
            now,
            [*(Issue("critical", text) for text in critical), *issues],
        )

    def details(
        self, namespace: str | None, limit: int, offset: int
    ) -> tuple[list[MirrorDetail], bool]:
        """Return a page of enabled mirrors by name, and whether there are more.

        Args:
            namespace: Their namespace; None for all.
            limit: The size of the page.
            offset: The number of mirrors before the page.
        """
        rows = self._database.read(
            _DETAILS, {"namespace": namespace, "limit": limit + 1, "offset": offset}
        )
        return [MirrorDetail(*row) for row in rows[:limit]], len(rows) > limit
