"""The state of mirrors, their runs and their tags, for operators and monitoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from atoll.db.pool import Database
from atoll.errors import UserError
from atoll.mirroring.errors import mirror_unknown
from atoll.mirroring.problems import TOO_MANY_DELETIONS
from atoll.mirroring.rules.schedule import (
    OVERDUE_INTERVALS,
    OVERDUE_SECONDS,
    Schedule,
    within_hours,
)
from atoll.names import RepositoryName
from atoll.registry.repositories import REPOSITORY_ID, name_parameters

# A report names this number of mirrors at most.
_NAMED_MAXIMUM = 10

# The columns of a RunStatus.
RUN = """
run.id, run.cause, run.site, run.instance, run.started_at, run.finished_at, run.outcome,
run.reason, run.message, run.tags_total, run.tags_unchanged, run.tags_copied, run.tags_failed,
run.tags_deleted, run.bytes_copied, run.bytes_present, run.requests,
(SELECT count(*) FROM mirrortask t WHERE t.run_id = run.id AND t.state = 'pending')
"""

_NAMED = """
repomirrorconfig m
JOIN repository r ON r.id = m.repository_id
JOIN "user" n ON n.id = r.namespace_user_id
"""

_IS_ACTIVE = "m.is_enabled AND r.state = 'MIRROR'"
# A requested run starts even if the mirror is disabled.
_IS_DUE = f"""
(r.state = 'MIRROR' AND m.run_id IS NULL AND (m.requested_at IS NOT NULL
    OR (m.is_enabled AND coalesce(m.next_at <= now(), false) AND {within_hours("m")})))
"""
_LAST_SUCCESS = "coalesce(m.last_success_at, greatest(m.created_at, m.sync_start_date))"

_MIRRORS = f"""
SELECT n.username, r.name, r.state, robot.username, m.external_reference, m.is_enabled,
    m.sync_interval, m.sync_status, m.reason, m.status_message, m.retries_remaining, m.next_at,
    m.last_success_at,
    greatest(0, extract(epoch FROM now() - {_LAST_SUCCESS}))::float8, {_IS_DUE},
    m.org_mirror_id IS NOT NULL, ended.finished_at, ended.outcome,
    now(), {_LAST_SUCCESS}, m.sync_start_date, m.options ->> 'hours',
    {RUN}
FROM {_NAMED}
JOIN "user" robot ON robot.id = m.internal_robot_id
LEFT JOIN LATERAL (
    SELECT * FROM mirrorrun WHERE mirror_id = m.id ORDER BY id DESC LIMIT 1) run ON true
LEFT JOIN LATERAL (
    SELECT finished_at, outcome FROM mirrorrun
    WHERE mirror_id = m.id AND finished_at IS NOT NULL ORDER BY id DESC LIMIT 1) ended ON true
"""
_ALL = f"{_MIRRORS} ORDER BY n.username, r.name"
_ONE = f"{_MIRRORS} WHERE n.username = %(namespace)s AND r.name = %(name)s"

# The page is selected first, so that the runs of other mirrors are not read.
_PAGE = f"""
{_MIRRORS} WHERE m.id = ANY(ARRAY(
    SELECT m.id FROM {_NAMED}
    WHERE (%(status)s::text IS NULL OR m.sync_status = %(status)s)
      AND (n.username, r.name) > (%(namespace)s, %(name)s)
    ORDER BY n.username, r.name LIMIT %(limit)s))
ORDER BY n.username, r.name
"""

_SUMMARY = f"""
SELECT count(*), count(*) FILTER (WHERE {_IS_ACTIVE}),
    count(*) FILTER (WHERE m.run_id IS NOT NULL),
    count(*) FILTER (WHERE {_IS_DUE}),
    count(*) FILTER (WHERE m.sync_status = 'FAIL')
FROM {_NAMED}
"""
_OVERDUE = f"""
{_MIRRORS} WHERE {_IS_ACTIVE} AND (m.reason = '{TOO_MANY_DELETIONS}'
    OR (m.sync_interval > 0 AND {_LAST_SUCCESS}
        < now() - make_interval(secs => greatest(%(intervals)s * m.sync_interval, %(seconds)s))))
ORDER BY {_LAST_SUCCESS}, m.id
"""

_RUNS = f"""
SELECT {RUN} FROM {_NAMED} JOIN mirrorrun run ON run.mirror_id = m.id
WHERE n.username = %(namespace)s AND r.name = %(name)s ORDER BY run.id DESC LIMIT %(limit)s
"""

# The tasks of the current run precede what earlier runs recorded. A mirror without such tags has
# one row of nulls.
_TAGS = f"""
WITH mirror AS (
    SELECT id, run_id FROM repomirrorconfig WHERE repository_id = {REPOSITORY_ID}
), tags AS (
    SELECT tag, coalesce(task.digest, known.upstream_digest) AS digest, known.seen_at,
        known.checked_at, known.gone_since, coalesce(task.last_error, known.last_error) AS error,
        CASE WHEN task.state IN ('pending', 'copied') THEN 'pending'
            WHEN known.gone_since IS NOT NULL THEN 'gone'
            WHEN task.state = 'failed' OR known.last_error IS NOT NULL THEN 'failed'
            ELSE 'current' END AS state
    FROM (SELECT t.* FROM mirrortag t JOIN mirror ON t.mirror_id = mirror.id) AS known
    FULL JOIN (SELECT t.* FROM mirrortask t JOIN mirror ON t.run_id = mirror.run_id) AS task
        USING (tag)
)
SELECT tag, state, digest, seen_at, checked_at, gone_since, error
FROM mirror LEFT JOIN tags
    ON (%(state)s::text IS NULL OR state = %(state)s) AND tag COLLATE "C" > %(after)s
ORDER BY tag COLLATE "C" LIMIT %(limit)s
"""

TAG_STATES = ("current", "pending", "failed", "gone")


@dataclass(frozen=True)
class RunStatus:
    """A run of a mirror.

    Attributes:
        outcome: `SUCCESS`, `FAIL` or `CANCEL`; None while the run is in progress.
        reason: the code of the failure.
        bytes_present: bytes of blobs that did not have to be fetched.
        tags_pending: tags that the run has yet to copy.
    """

    id: int
    cause: str
    site: str
    instance: str
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    reason: str | None
    message: str | None
    tags_total: int
    tags_unchanged: int
    tags_copied: int
    tags_failed: int
    tags_deleted: int
    bytes_copied: int
    bytes_present: int
    requests: int
    tags_pending: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return _for_json(asdict(self))


@dataclass(frozen=True)
class MirrorStatus:
    """A mirror and its last run.

    Attributes:
        state: the state of the repository; the mirror runs only in `MIRROR`.
        interval: seconds between runs; 0 for runs on request only.
        reason: the code of the last failure.
        seconds_without_success: seconds since the last success, or since the mirror's start.
        is_due: whether a run is due or requested, and has not started.
        of_organization: whether the mirror belongs to that of its organization.
        last_run_at: when the last finished run ended.
        last_outcome: its outcome.
        is_overdue: whether scheduled runs have not succeeded for two intervals. Time outside of the
            hours in which runs begin does not count.
        run: the current or last run.
    """

    namespace: str
    name: str
    state: str
    robot: str
    reference: str
    is_enabled: bool
    interval: int
    sync_status: str
    reason: str | None
    message: str | None
    retries_remaining: int
    next_at: datetime | None
    last_success_at: datetime | None
    seconds_without_success: float
    is_due: bool
    of_organization: bool
    last_run_at: datetime | None
    last_outcome: str | None
    is_overdue: bool
    run: RunStatus | None

    @property
    def is_active(self) -> bool:
        """Whether the mirror runs on its schedule."""
        return self.is_enabled and self.state == "MIRROR" and self.interval > 0

    @property
    def repository(self) -> str:
        """The repository as `namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def problem(self) -> str:
        """Why the mirror is overdue, as a sentence."""
        if self.reason == TOO_MANY_DELETIONS:
            return (
                f"the mirror {self.repository} deletes no tags until they are confirmed with"
                f" `atoll mirror confirm-deletions {self.repository}`"
            )
        hours = self.seconds_without_success / 3600
        cause = ": ".join(text for text in (self.reason, self.message) if text)
        return (
            f"the mirror {self.repository} has had no successful run for {hours:.1f} h"
            f" ({self.sync_status}{f', {cause}' if cause else ''})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        fields = asdict(self)
        del fields["namespace"], fields["name"]
        run = self.run.as_dict() if self.run else None
        return {"repository": self.repository, **_for_json(fields), "run": run}


@dataclass(frozen=True)
class TagStatus:
    """A tag of a mirror.

    Attributes:
        state: one of TAG_STATES: copied in its latest version, waiting for its copy, failed at its
            last copy, or missing at the upstream.
        digest: the digest at the upstream.
        seen_at: when a run last found the tag at the upstream, exact to an hour.
        checked_at: when a run last asked the upstream for the digest, exact to an hour.
        gone_since: since when the upstream does not list the tag.
    """

    tag: str
    state: str
    digest: str | None
    seen_at: datetime | None
    checked_at: datetime | None
    gone_since: datetime | None
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return _for_json(asdict(self))


@dataclass(frozen=True)
class MirrorSummary:
    """All mirrors together.

    Attributes:
        mirrors: the number of all.
        active: those that run on their schedule.
        running: those with a run in progress.
        due: those whose run is due or requested, and has not started.
        failed: those whose last run failed.
        overdue: those without a recent success, oldest first.
    """

    mirrors: int
    active: int
    running: int
    due: int
    failed: int
    overdue: Sequence[MirrorStatus]

    def problems(self) -> list[str]:
        """Return one sentence for each of the longest overdue mirrors, and one for the rest."""
        found = [one.problem for one in self.overdue[:_NAMED_MAXIMUM]]
        if (more := len(self.overdue) - _NAMED_MAXIMUM) > 0:
            found.append(f"{more} more mirrors have had no recent successful run")
        return found

    def as_dict(self) -> dict[str, int]:
        """Return the counts for JSON."""
        return {
            "mirrors": self.mirrors,
            "active": self.active,
            "running": self.running,
            "due": self.due,
            "failed": self.failed,
            "overdue": len(self.overdue),
        }


class MirrorStatuses:
    """Read the state of mirrors. Every method may raise DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[MirrorStatus]:
        """Return all mirrors, by repository."""
        return [_mirror(row) for row in self._database.read(_ALL)]

    def page(
        self, limit: int, *, status: str | None = None, after: tuple[str, str] = ("", "")
    ) -> list[MirrorStatus]:
        """Return the first mirrors by repository.

        Args:
            limit: the maximum number of mirrors.
            status: one of `mirror_records.STATUSES`; None for mirrors in any status.
            after: the namespace and name of the repository that the list begins after.
        """
        namespace, name = after
        values = {"limit": limit, "status": status, "namespace": namespace, "name": name}
        return [_mirror(row) for row in self._database.read(_PAGE, values)]

    def one(self, repository: RepositoryName) -> MirrorStatus:
        """Return the mirror of a repository.

        Raises:
            UserError: the repository is not a mirror.
        """
        for row in self._database.read(_ONE, _key(repository)):
            return _mirror(row)
        raise UserError(f"'{repository}' is not a mirror; `atoll mirror list` lists the mirrors")

    def summary(self) -> MirrorSummary:
        """Return the counts of all mirrors, and the mirrors without a recent success."""
        limits = {"intervals": OVERDUE_INTERVALS, "seconds": OVERDUE_SECONDS}
        found = [_mirror(row) for row in self._database.read(_OVERDUE, limits)]
        overdue = [one for one in found if one.is_overdue or one.reason == TOO_MANY_DELETIONS]
        return MirrorSummary(*(*self._database.read(_SUMMARY)[0], overdue))

    def runs(self, repository: RepositoryName, limit: int) -> list[RunStatus]:
        """Return the latest runs of a mirror, newest first; empty if it is not a mirror."""
        rows = self._database.read(_RUNS, {**_key(repository), "limit": limit})
        return [RunStatus(*row) for row in rows]

    def tags(
        self,
        repository: RepositoryName,
        state: str | None = None,
        *,
        after: str = "",
        limit: int | None = None,
    ) -> list[TagStatus]:
        """Return the tags of a mirror by name.

        Args:
            repository: the repository.
            state: one of TAG_STATES; None for tags in any state.
            after: the tag that the list begins after.
            limit: the maximum number of tags.

        Raises:
            MirrorUnknown: the repository is not a mirror.
        """
        rows = self._database.read(
            _TAGS, {**name_parameters(repository), "state": state, "after": after, "limit": limit}
        )
        if not rows:
            raise mirror_unknown(repository)
        return [TagStatus(*row) for row in rows if row[0] is not None]


def _key(repository: RepositoryName) -> dict[str, Any]:
    return {"namespace": repository.namespace, "name": repository.name}


# The numbers of columns before those of the schedule, and before those of the run, and of the run.
_OWN_COLUMNS, _SCHEDULE_COLUMNS, RUN_COLUMNS = 18, 22, 18


def _mirror(row: Sequence[Any]) -> MirrorStatus:
    own, run = row[:_OWN_COLUMNS], row[_SCHEDULE_COLUMNS:]
    now, success, start, hours = row[_OWN_COLUMNS:_SCHEDULE_COLUMNS]
    last = RunStatus(*run) if run[0] is not None else None
    found = MirrorStatus(*(*own, False, last))
    schedule = Schedule.within(start, found.interval, hours)
    return replace(found, is_overdue=found.is_active and now > schedule.overdue_at(success))


def _for_json(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in fields.items()
    }
