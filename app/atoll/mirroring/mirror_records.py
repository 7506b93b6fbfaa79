"""Rows of mirrors and of their runs, as the API and the command line show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from atoll.mirroring.schedule import Schedule
from atoll.mirroring.settings import schedule_of
from atoll.mirroring.tag_rules import split_patterns
from atoll.names import RepositoryName

# The state of repositories that only the robot of a mirror changes.
MIRROR = "MIRROR"
NEVER_RUN, SYNC_NOW, SYNCING = "NEVER_RUN", "SYNC_NOW", "SYNCING"
SUCCESS, FAIL, CANCEL = "SUCCESS", "FAIL", "CANCEL"
STATUSES = (NEVER_RUN, SYNC_NOW, SYNCING, SUCCESS, FAIL, CANCEL)


@dataclass(frozen=True)
class Run:
    """A run of a mirror.

    Attributes:
        id: Its key.
        cause: `schedule`, `request` or `retry`.
        site: The site that planned it last.
        instance: The process that planned it last.
        started_at: When it started.
        finished_at: When it finished; None while it is in progress.
        outcome: SUCCESS, FAIL or CANCEL; None while it is in progress.
        reason: The code of its failure.
        message: A text for people.
        tags_total: The number of selected tags.
        tags_unchanged: The number of tags that had not changed.
        tags_copied: The number of copied tags.
        tags_failed: The number of failed tags.
        tags_deleted: The number of deleted tags.
        bytes_copied: The bytes that were fetched.
        bytes_present: The bytes that did not have to be fetched.
        requests: The number of requests to the upstream.
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


RUN_COLUMNS = ", ".join(Run.__dataclass_fields__)
_RUN_PREFIX = "run."


@dataclass(frozen=True)
class Mirror:
    """A mirror of a repository.

    Attributes:
        id: Its key.
        repository: The repository, bound to its id.
        repository_state: The state of the repository; the mirror runs only if it is MIRROR.
        robot: The robot in whose name tags change.
        row: The row of `repomirrorconfig`, for `MirrorSettings.from_row`. It contains the
            encrypted password.
        run: The current run or, between runs, the last one; None if there was none.
        waiting_until: Until when the current run waits for the upstream.
    """

    id: int
    repository: RepositoryName
    repository_state: str
    robot: str
    row: Mapping[str, Any]
    run: Run | None
    waiting_until: datetime | None

    @property
    def status(self) -> str:
        """The status of the last run, one of STATUSES."""
        status: str = self.row["sync_status"]
        return status

    @property
    def is_enabled(self) -> bool:
        """Whether runs start on schedule."""
        enabled: bool = self.row["is_enabled"]
        return enabled

    @property
    def schedule(self) -> Schedule:
        """The schedule."""
        return schedule_of(self.row)

    @property
    def patterns(self) -> list[str]:
        """The patterns of tags to include."""
        return list(split_patterns(self.row["root_rule"]["rule_value"]))


_RUN = ", ".join(f'run.{name} AS "{_RUN_PREFIX}{name}"' for name in Run.__dataclass_fields__)

# Mirrors with their repositories and runs. A run whose remaining tasks are all postponed waits for
# the upstream.
MIRRORS = f"""
SELECT m.*, n.username AS namespace, r.name AS repository, r.state AS repository_state,
       robot.username AS robot, {_RUN},
       CASE WHEN m.run_id IS NULL THEN NULL
            WHEN run.planned_at IS NULL THEN nullif(greatest(m.available_at, now()), now())
            ELSE (SELECT nullif(greatest(min(t.available_at), now()), now()) FROM mirrortask t
                  WHERE t.run_id = m.run_id AND t.state = 'pending')
       END AS waiting_until
FROM repomirrorconfig m
JOIN repository r ON r.id = m.repository_id
JOIN "user" n ON n.id = r.namespace_user_id
JOIN "user" robot ON robot.id = m.internal_robot_id
LEFT JOIN LATERAL (
    SELECT * FROM mirrorrun WHERE mirror_id = m.id ORDER BY id DESC LIMIT 1
) AS run ON true
"""


def mirror_from_row(row: Mapping[str, Any]) -> Mirror:
    """Return the mirror in a row of MIRRORS."""
    values = dict(row)
    run = {name: values.pop(f"{_RUN_PREFIX}{name}") for name in Run.__dataclass_fields__}
    return Mirror(
        values["id"],
        RepositoryName(values["namespace"], values["repository"], values["repository_id"]),
        values["repository_state"],
        values["robot"],
        values,
        None if run["id"] is None else Run(**run),
        values["waiting_until"],
    )
