"""Removal of expired records: tokens, tag history and pull statistics.

A step examines one range of each table, so its cost does not depend on the sizes of the tables.
Rows that another process has locked are left to that process or to the next pass.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.registry.tags import END_MS, NOW_MS

log = logging.getLogger(__name__)

# Rows that one statement examines: a range of ids, and a page of statistics, where each row needs
# an index lookup.
RANGE, PAGE = 20_000, 2_000

# Delete a batch of tokens that expired longest ago.
_EXPIRED_TOKENS = """
DELETE FROM {table} WHERE id IN (
    SELECT id FROM {table} WHERE expires_at < now() - make_interval(secs => %(token_retention)s)
    ORDER BY expires_at LIMIT %(page)s FOR UPDATE SKIP LOCKED)
RETURNING id
"""

_LAST_TAG = "SELECT coalesce(max(id), 0) FROM tag"

# Delete history beyond the namespace's retention, which cannot be restored and keeps no manifest.
_TAG_HISTORY = f"""
DELETE FROM tag WHERE id IN (
    SELECT t.id FROM tag t
    JOIN repository r ON r.id = t.repository_id JOIN "user" n ON n.id = r.namespace_user_id
    WHERE t.id > %(after)s AND t.id <= %(until)s
      AND {END_MS} < {NOW_MS} - 1000 * coalesce(n.tag_expiration_s, %(tag_expiration)s)
    ORDER BY t.id FOR UPDATE OF t SKIP LOCKED)
RETURNING id
"""

# Delete the statistics of tags or manifests that no longer exist. Pulls are counted with a delay of
# seconds, so recent statistics are kept. Rows are deleted by their ctid, which is stable under the
# lock, because a join of the page with its table may be planned as a scan of the whole table.
_PULL_STATISTICS = """
WITH page AS (
    SELECT ctid AS row_position, repository_id, {key}, {date} AS pulled_at FROM {table}
    WHERE (repository_id, {key}) > (%(repository_id)s, %(key)s)
    ORDER BY repository_id, {key} LIMIT %(page)s FOR UPDATE SKIP LOCKED
), removed AS (
    DELETE FROM {table} WHERE ctid = ANY(ARRAY(
        SELECT row_position FROM page
        WHERE page.pulled_at < now() - interval '1 day' AND NOT EXISTS (
            SELECT FROM {subject} x
            WHERE x.repository_id = page.repository_id AND x.{subject_key} = page.{key})))
    RETURNING 1
)
SELECT repository_id, {key}, (SELECT count(*) FROM removed) FROM page
ORDER BY repository_id DESC, {key} DESC LIMIT 1
"""
_MANIFEST_STATISTICS = _PULL_STATISTICS.format(
    table="manifestpullstatistics",
    key="manifest_digest",
    date="last_manifest_pull_date",
    subject="manifest",
    subject_key="digest",
)
_TAG_STATISTICS = _PULL_STATISTICS.format(
    table="tagpullstatistics",
    key="tag_name",
    date="last_tag_pull_date",
    subject="tag",
    subject_key="name",
)


class Retention:
    """Removes expired records range by range; positions are kept in memory.

    Args:
        database: The database.
        bundle: The bundle, for EXPIRED_APP_SPECIFIC_TOKEN_GC and DEFAULT_TAG_EXPIRATION.
    """

    def __init__(self, database: Database, bundle: Bundle) -> None:
        self._database = database
        self._parameters = {
            "token_retention": bundle.expired_app_specific_token_gc,
            "tag_expiration": bundle.default_tag_expiration,
            "page": PAGE,
        }
        self._tag = 0
        self._after: dict[str, tuple[int, str]] = {}

    def step(self) -> int:
        """Examine the next range of each table, and return the number of removed rows.

        Raises:
            DatabaseUnavailable: The database is unavailable; completed ranges stay completed.
        """
        removed = sum(self._removed())
        if removed:
            log.info("expired records removed", extra={"rows": removed})
        return removed

    def _removed(self) -> Iterator[int]:
        for table in ("oauthaccesstoken", "appspecifictoken"):
            sql = _EXPIRED_TOKENS.format(table=table)
            yield len(self._database.run(sql, self._parameters))
        yield self._tag_history()
        yield self._pull_statistics(_MANIFEST_STATISTICS)
        yield self._pull_statistics(_TAG_STATISTICS)

    def _tag_history(self) -> int:
        last = int(self._database.read(_LAST_TAG)[0][0])
        until = min(self._tag + RANGE, last)
        limits = {"after": self._tag, "until": until}
        removed = self._database.run(_TAG_HISTORY, {**self._parameters, **limits})
        self._tag = 0 if until >= last else until
        return len(removed)

    def _pull_statistics(self, statement: str) -> int:
        """Examine the page after the last one; an empty page ends the pass."""
        repository_id, key = self._after.get(statement, (0, ""))
        position = {"repository_id": repository_id, "key": key}
        rows = self._database.run(statement, {**self._parameters, **position})
        if not rows:
            self._after.pop(statement, None)
            return 0
        self._after[statement] = (rows[0][0], rows[0][1])
        return int(rows[0][2])
