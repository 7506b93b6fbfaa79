"""Mirrors as they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from atoll.mirroring.rules.schedule import Schedule
from atoll.mirroring.rules.settings import schedule_of
from atoll.mirroring.rules.tag_rules import split_patterns
from atoll.names import RepositoryName

# The state of repositories that only the robot of a mirror changes.
MIRROR = "MIRROR"
NEVER_RUN, SYNC_NOW, SYNCING = "NEVER_RUN", "SYNC_NOW", "SYNCING"
SUCCESS, FAIL, CANCEL = "SUCCESS", "FAIL", "CANCEL"
STATUSES = (NEVER_RUN, SYNC_NOW, SYNCING, SUCCESS, FAIL, CANCEL)


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
        waiting_until: Until when the current run waits for the upstream.
    """

    id: int
    repository: RepositoryName
    repository_state: str
    robot: str
    row: Mapping[str, Any]
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


# Mirrors with their repositories. A run whose remaining tasks are all postponed waits for the
# upstream.
MIRRORS = """
SELECT m.*, n.username AS namespace, r.name AS repository, r.state AS repository_state,
       robot.username AS robot,
       CASE WHEN m.run_id IS NULL THEN NULL
            WHEN (SELECT planned_at FROM mirrorrun WHERE id = m.run_id) IS NULL
            THEN nullif(greatest(m.available_at, now()), now())
            ELSE (SELECT nullif(greatest(min(t.available_at), now()), now()) FROM mirrortask t
                  WHERE t.run_id = m.run_id AND t.state = 'pending')
       END AS waiting_until
FROM repomirrorconfig m
JOIN repository r ON r.id = m.repository_id
JOIN "user" n ON n.id = r.namespace_user_id
JOIN "user" robot ON robot.id = m.internal_robot_id
"""


def mirror_from_row(row: Mapping[str, Any]) -> Mirror:
    """Return the mirror in a row of MIRRORS."""
    values = dict(row)
    return Mirror(
        values["id"],
        RepositoryName(values["namespace"], values["repository"], values["repository_id"]),
        values["repository_state"],
        values["robot"],
        values,
        values["waiting_until"],
    )
