"""A mirror with its current or last run."""

from __future__ import annotations

from atoll.db.pool import Database
from atoll.mirroring.errors import mirror_unknown
from atoll.mirroring.mirror_records import MIRRORS, Mirror, mirror_from_row
from atoll.mirroring.status import RUN, RUN_COLUMNS, RunStatus
from atoll.names import RepositoryName
from atoll.registry.repositories import REPOSITORY_ID, name_parameters

# The columns of the mirror follow those of the run, so that names that both have are the mirror's.
_WITH_RUN = f"""
SELECT {RUN}, mirror.*
FROM ({MIRRORS} WHERE m.repository_id = {REPOSITORY_ID}) mirror
LEFT JOIN LATERAL (
    SELECT * FROM mirrorrun WHERE mirror_id = mirror.id ORDER BY id DESC LIMIT 1) run ON true
"""


def mirror_with_run(
    database: Database, repository: RepositoryName
) -> tuple[Mirror, RunStatus | None]:
    """Return the mirror of a repository, and its current or last run.

    Raises:
        MirrorUnknown: the repository is not a mirror.
        DatabaseUnavailable: the database is unavailable.
    """
    for row in database.read(_WITH_RUN, name_parameters(repository)):
        run = RunStatus(*row[:RUN_COLUMNS]) if row[0] is not None else None
        return mirror_from_row(row), run
    raise mirror_unknown(repository)
