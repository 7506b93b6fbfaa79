"""Pull statistics of tags and manifests (FEATURE_IMAGE_PULL_STATS).

Pulls are counted in the transaction that writes them to the log, so that none is counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from atoll.db.pool import Database
from atoll.names import RepositoryName

# Count pulls by tag and by manifest, in the transaction that writes them to the log. Parameter:
# %(entries)s, a JSON list of the pulls. Rows are written in a fixed order, so that processes do not
# deadlock.
COUNT_PULLS = """
CREATE TEMPORARY TABLE pulled ON COMMIT DROP AS
SELECT repository.id AS repository_id, entry.metadata->>'tag' AS tag,
       entry.metadata->>'manifest_digest' AS digest, entry.created_at
FROM jsonb_to_recordset(%(entries)s) AS entry (
    namespace text, repository text, metadata jsonb, created_at timestamptz)
JOIN "user" n ON n.username = entry.namespace AND n.robot_owner_id IS NULL
JOIN repository ON repository.namespace_user_id = n.id AND repository.name = entry.repository
FOR KEY SHARE OF repository;
INSERT INTO tagpullstatistics AS old (repository_id, tag_name, tag_pull_count, last_tag_pull_date,
                                      current_manifest_digest)
SELECT repository_id, tag, count(*), max(created_at),
       (array_agg(digest ORDER BY created_at DESC))[1]
FROM pulled WHERE tag IS NOT NULL GROUP BY repository_id, tag ORDER BY repository_id, tag
ON CONFLICT (repository_id, tag_name) DO UPDATE SET
    tag_pull_count = old.tag_pull_count + EXCLUDED.tag_pull_count,
    last_tag_pull_date = greatest(old.last_tag_pull_date, EXCLUDED.last_tag_pull_date),
    current_manifest_digest = EXCLUDED.current_manifest_digest;
INSERT INTO manifestpullstatistics AS old (repository_id, manifest_digest, manifest_pull_count,
                                           last_manifest_pull_date)
SELECT repository_id, digest, count(*), max(created_at)
FROM pulled GROUP BY repository_id, digest ORDER BY repository_id, digest
ON CONFLICT (repository_id, manifest_digest) DO UPDATE SET
    manifest_pull_count = old.manifest_pull_count + EXCLUDED.manifest_pull_count,
    last_manifest_pull_date =
        greatest(old.last_manifest_pull_date, EXCLUDED.last_manifest_pull_date);
"""

_STATISTICS = """
SELECT t.tag_pull_count, t.last_tag_pull_date, m.manifest_pull_count, m.last_manifest_pull_date
FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
LEFT JOIN tagpullstatistics t ON t.repository_id = r.id AND t.tag_name = %(tag)s
LEFT JOIN manifestpullstatistics m ON m.repository_id = r.id AND m.manifest_digest = %(digest)s
WHERE n.username = %(namespace)s AND r.name = %(name)s
"""


@dataclass(frozen=True)
class PullCount:
    """The number of pulls, and the time of the last one."""

    count: int
    last: datetime | None


class PullStatistics:
    """The pull statistics of all repositories."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(
        self, name: RepositoryName, tag: str | None, digest: str
    ) -> tuple[PullCount, PullCount]:
        """Return the pulls by a tag, and the pulls of a manifest by any reference."""
        rows = self._database.read(
            _STATISTICS,
            {"namespace": name.namespace, "name": name.name, "tag": tag, "digest": digest},
        )
        by_tag, last_by_tag, of_manifest, last = rows[0] if rows else (None, None, None, None)
        return PullCount(by_tag or 0, last_by_tag), PullCount(of_manifest or 0, last)
