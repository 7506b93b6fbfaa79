"""Create mirrors from the configuration files of skopeo sync and regsync."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from atoll.auth.robots import InvalidRobotName, RobotExists, Robots, RobotsDisallowed
from atoll.db.pool import Database
from atoll.errors import UserError
from atoll.mirroring.conversion.entries import SyncEntry
from atoll.mirroring.errors import MirrorExists
from atoll.mirroring.mirrors import MirrorChange, Mirrors
from atoll.names import InvalidName, RepositoryName
from atoll.registry.errors import RepositoryUnknown
from atoll.registry.repositories import Repositories

CREATED, EXISTS, REFUSED = "created", "exists", "refused"

# Whether the namespace exists, and the state and the content of the repository.
_FOUND = """
SELECT n.id IS NOT NULL, r.id IS NOT NULL, m.id IS NOT NULL,
    EXISTS (SELECT FROM tag t WHERE t.repository_id = r.id AND t.lifetime_end_ms IS NULL)
FROM (VALUES (%(namespace)s, %(name)s)) AS given (namespace, name)
LEFT JOIN "user" n ON n.username = given.namespace AND n.robot_owner_id IS NULL
LEFT JOIN repository r ON r.namespace_user_id = n.id AND r.name = given.name
LEFT JOIN repomirrorconfig m ON m.repository_id = r.id
"""


@dataclass(frozen=True)
class Defaults:
    """The settings that files do not have.

    Attributes:
        namespace: the namespace of all mirrors; None for that of the file.
        robot: the name of their robot in its namespace.
        interval: seconds between runs, if the file does not specify them.
        start: the first run, if the file does not specify it.
    """

    namespace: str | None
    robot: str
    interval: int
    start: datetime


@dataclass(frozen=True)
class ImportedMirror:
    """The result of one entry of a file.

    Attributes:
        line: the line of the file.
        source: the upstream repository.
        repository: the mirror; None if its name cannot be derived.
        result: CREATED, EXISTS (the mirror was not changed) or REFUSED.
        notes: what the mirror does differently.
        problem: why there is no mirror.
    """

    line: int
    source: str
    repository: str | None
    result: str
    notes: Sequence[str] = ()
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


class SyncImport:
    """Creates mirrors, their repositories and their robots."""

    def __init__(
        self,
        database: Database,
        repositories: Repositories,
        robots: Robots,
        mirrors: Mirrors,
        *,
        sparse_indexes: bool,
    ) -> None:
        """Provide the import.

        Args:
            database: The database.
            repositories: Creates repositories.
            robots: Creates robots.
            mirrors: Creates mirrors.
            sparse_indexes: Whether indexes may lack images, as mirrors of some platforms do.
        """
        self._database = database
        self._repositories = repositories
        self._robots = robots
        self._mirrors = mirrors
        self._sparse_indexes = sparse_indexes

    def run(
        self, entries: Sequence[SyncEntry], defaults: Defaults, *, dry_run: bool = False
    ) -> list[ImportedMirror]:
        """Create a mirror for each entry without a problem, and return all results.

        Mirrors that exist are not changed.

        Args:
            entries: The entries of a file.
            defaults: The settings that the file does not have.
            dry_run: Whether to check only.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        lines: dict[str, int] = {}
        return [self._entry(one, defaults, lines, dry_run=dry_run) for one in entries]

    def _entry(
        self, entry: SyncEntry, defaults: Defaults, lines: dict[str, int], *, dry_run: bool
    ) -> ImportedMirror:
        name: RepositoryName | None = None
        result, problem = REFUSED, entry.problem
        if not problem:
            try:
                name = _name(entry.target, defaults.namespace)
                if str(name) in lines:
                    raise UserError(f"line {lines[str(name)]} has the same repository")
                lines[str(name)] = entry.line
                result = self._create(name, entry, defaults, dry_run=dry_run)
            except (UserError, RepositoryUnknown, RobotsDisallowed, InvalidRobotName) as error:
                problem = str(error)
        return ImportedMirror(
            entry.line,
            entry.source,
            str(name) if name else None,
            result,
            entry.notes if result == CREATED else (),
            problem,
        )

    def _create(
        self, name: RepositoryName, entry: SyncEntry, defaults: Defaults, *, dry_run: bool
    ) -> str:
        parameters = {"namespace": name.namespace, "name": name.name}
        rows = self._database.read(_FOUND, parameters)
        has_namespace, has_repository, has_mirror, has_tags = rows[0]
        if has_mirror:
            return EXISTS
        if not has_namespace:
            raise UserError(f"there is no namespace '{name.namespace}'; create it first")
        if has_tags:
            raise UserError(f"'{name}' has tags, which a mirror would delete; use another name")
        if entry.settings.get("architecture_filter") and not self._sparse_indexes:
            raise UserError("a selection of platforms requires FEATURE_SPARSE_INDEX")
        if dry_run:
            return CREATED
        with suppress(RobotExists):
            self._robots.create(name.namespace, defaults.robot, "Mirrors repositories")
        if not has_repository:
            self._repositories.create(name, "private")
        new: MirrorChange = {
            "sync_interval": defaults.interval,
            "sync_start_date": defaults.start,
            **entry.settings,
            "robot_username": f"{name.namespace}+{defaults.robot}",
        }
        try:
            self._mirrors.create(name, new)
        except MirrorExists:
            # Another process created it meanwhile.
            return EXISTS
        return CREATED


def _name(target: str, namespace: str | None) -> RepositoryName:
    """Return the name of a mirror. Raises UserError."""
    given, slash, rest = target.partition("/")
    path = rest if slash else given
    if namespace is None and not slash:
        raise InvalidName(f"the file names no namespace for '{given[:200]}'; set --namespace")
    return RepositoryName.parse(f"{namespace or given}/{path}")
