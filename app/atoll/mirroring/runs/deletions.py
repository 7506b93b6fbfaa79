"""Tags that a mirror no longer has: which of them a run ends.

A successful run ends a tag that exists here if

- the rule does not select it any more, or
- the upstream did not list it for the configured time, in at least two runs.

The plan of the run decides which rows of tags are not selected. A tag that was pushed since has
another row, and is left alone, as are all tags if the settings changed since.

If these are too many, none of them ends until an administrator confirms the deletions. Ended tags
stay in the tag history. Tags that are named after a digest accompany their image and are left
alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg2.extensions

from atoll.mirroring.rules.settings import MirrorSettings
from atoll.registry.tags import alive

# Repositories with fewer tags have no limit of deletions.
_LIMITED_FROM = 10

# The condition that a tag is not named after a digest, as `is_digest_tag`.
IS_SELECTABLE = """
(t.name !~ '^(sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128})([.][A-Za-z0-9._-]+)?$')
"""

# Return each tag that the current run did not select and that did not change since, with its row
# and whether its time has come. Expects %(run_id)s, %(repository_id)s and %(delete_after)s.
UNSELECTED = f"""
SELECT t.name, t.id,
       known.gone_since IS NULL OR %(delete_after)s = 0 OR (
           known.gone_since < run.started_at
           AND known.gone_since + make_interval(secs => %(delete_after)s) <= clock_timestamp())
FROM mirrorrun run CROSS JOIN LATERAL unnest(run.unselected) AS unselected (id)
JOIN tag t ON t.id = unselected.id AND t.repository_id = %(repository_id)s AND {alive("t")}
LEFT JOIN mirrortag known ON known.mirror_id = run.mirror_id AND known.tag = t.name
WHERE run.id = %(run_id)s
ORDER BY t.name
"""

_COUNT = f"""
SELECT count(*) FROM tag t
WHERE t.repository_id = %(repository_id)s AND {alive("t")} AND {IS_SELECTABLE}
"""

_FORGET = "DELETE FROM mirrortag WHERE mirror_id = %(mirror_id)s AND tag = ANY(%(tags)s::text[])"


@dataclass(frozen=True)
class Deletions:
    """The tags that a run is to end.

    Attributes:
        tags: The tags, with the keys of their rows.
        existing: The number of tags of the repository.
        is_refused: Whether they are too many.
    """

    tags: Mapping[str, int]
    existing: int = 0
    is_refused: bool = False


def due_deletions(
    cursor: psycopg2.extensions.cursor, row: Mapping[str, Any], settings: MirrorSettings
) -> Deletions:
    """Return the tags that the current run of a mirror is to end.

    Args:
        cursor: A cursor in the transaction that ends the run.
        row: The row of `repomirrorconfig`, which the transaction has locked.
        settings: The mirror's settings.
    """
    values = {
        "run_id": row["run_id"],
        "repository_id": row["repository_id"],
        "delete_after": settings.delete_after.total_seconds(),
    }
    cursor.execute(UNSELECTED, values)
    tags = {name: row_id for name, row_id, is_due in cursor.fetchall() if is_due}
    if not tags:
        return Deletions(tags)
    cursor.execute(_COUNT, values)
    counted = cursor.fetchone()
    existing = counted[0] if counted else 0
    is_refused = are_too_many(
        len(tags), existing, settings, is_confirmed=row["deletions_confirmed"]
    )
    return Deletions(tags, existing, is_refused=is_refused)


def are_too_many(
    deleted: int, existing: int, settings: MirrorSettings, *, is_confirmed: bool
) -> bool:
    """Return whether a run that would delete this number of existing tags deletes none."""
    is_limited = existing >= _LIMITED_FROM and not is_confirmed
    return is_limited and deleted > settings.delete_limit * existing


def forget(cursor: psycopg2.extensions.cursor, mirror_id: int, tags: Collection[str]) -> None:
    """Forget ended tags."""
    cursor.execute(_FORGET, {"mirror_id": mirror_id, "tags": list(tags)})
