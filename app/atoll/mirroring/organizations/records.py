"""Mirrors of organizations as they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.mirroring.rules.tag_rules import split_patterns

# The states of a repository in the last discovery.
FOUND, SKIPPED, CONFLICT = "found", "skipped", "conflict"
# Quay's status of a repository that the last discovery did not select.
SKIP = "SKIP"


@dataclass(frozen=True)
class OrganizationMirror:
    """A mirror of an organization.

    Attributes:
        id: Its key.
        organization: The organization.
        robot: The robot in whose name repositories and tags change.
        row: The row of `orgmirrorconfig`. It contains the encrypted password.
    """

    id: int
    organization: str
    robot: str
    row: Mapping[str, Any]

    @property
    def status(self) -> str:
        """The status of the last discovery, one of `mirror_records.STATUSES`."""
        status: str = self.row["sync_status"]
        return status

    @property
    def reference(self) -> str:
        """The upstream's URL and namespace, as Quay names them."""
        return f"{self.row['external_registry_url'].rstrip('/')}/{self.row['external_namespace']}"

    @property
    def patterns(self) -> list[str]:
        """The patterns of tags to include."""
        return list(split_patterns(self.row["root_rule"]["rule_value"]))


# The columns and joins that add names to rows of `orgmirrorconfig`, and REFERENCE in SQL.
NAME_COLUMNS = """o.username AS organization, robot.username AS robot, clock_timestamp() AS now"""
NAMES = """
JOIN "user" o ON o.id = m.organization_id
JOIN "user" robot ON robot.id = m.internal_robot_id
"""
REFERENCE = "rtrim(m.external_registry_url, '/') || '/' || m.external_namespace"

ORGANIZATION_MIRRORS = f"SELECT m.*, {NAME_COLUMNS} FROM orgmirrorconfig m {NAMES}"
OF_ORGANIZATION = f"{ORGANIZATION_MIRRORS} WHERE o.username = %(organization)s"


def organization_mirror(row: Mapping[str, Any]) -> OrganizationMirror:
    """Return the mirror in a row of ORGANIZATION_MIRRORS."""
    values = dict(row)
    return OrganizationMirror(values["id"], values["organization"], values["robot"], values)
