"""Delete old runs of mirrors in small batches."""

from __future__ import annotations

from atoll.db.pool import Database
from atoll.db.transient import run_with_retries

# Runs are kept for this number of days, and at most this number of runs of each mirror.
DAYS = 90
RUNS_MAXIMUM = 1000
# The mirrors of one batch, and the runs that a batch deletes of each.
_MIRRORS, _DELETED = 50, 100

# The oldest runs of the next mirrors. The current run of a mirror, the latest one and the last
# successful one are kept. The keys of runs ascend with time. What another process deletes at this
# moment is skipped.
_PRUNE = """
WITH mirrors AS (
    SELECT id FROM repomirrorconfig WHERE id > %(after)s ORDER BY id LIMIT %(mirrors)s
), limits AS (
    SELECT m.id AS mirror_id,
        (SELECT r.id FROM mirrorrun r WHERE r.mirror_id = m.id
         ORDER BY r.id DESC OFFSET %(runs)s - 1 LIMIT 1) AS first_kept,
        (SELECT max(r.id) FROM mirrorrun r WHERE r.mirror_id = m.id) AS latest,
        (SELECT r.id FROM mirrorrun r WHERE r.mirror_id = m.id AND r.outcome = 'SUCCESS'
         ORDER BY r.id DESC LIMIT 1) AS last_success
    FROM mirrors m
), old AS (
    SELECT run.id FROM limits CROSS JOIN LATERAL (
        SELECT r.id, r.finished_at FROM mirrorrun r WHERE r.mirror_id = limits.mirror_id
        ORDER BY r.id LIMIT %(deleted)s) AS run
    WHERE (run.id < limits.first_kept
           OR run.finished_at < statement_timestamp() - make_interval(days => %(days)s))
      AND run.finished_at IS NOT NULL AND run.id <> limits.latest
      AND run.id IS DISTINCT FROM limits.last_success
), locked AS (
    SELECT r.id FROM mirrorrun r WHERE r.id IN (SELECT id FROM old)
    ORDER BY r.id FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM mirrorrun r USING locked WHERE r.id = locked.id RETURNING r.id
)
SELECT (SELECT max(id) FROM mirrors), (SELECT count(*) FROM deleted)
"""


class RunPruning:
    """Deletes runs that are older than 90 days, or not among the last 1,000 of their mirror."""

    def __init__(self, database: Database) -> None:
        """Begin with the first mirror.

        Args:
            database: Where the runs are stored.
        """
        self._database = database
        self._after = 0

    def step(self) -> bool:
        """Delete old runs of the next mirrors.

        Returns:
            Whether there may be more; False once after the last mirror.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        values = {
            "after": self._after,
            "mirrors": _MIRRORS,
            "runs": RUNS_MAXIMUM,
            "days": DAYS,
            "deleted": _DELETED,
        }
        last, deleted = run_with_retries(self._database, _PRUNE, values)[0]
        if last is None:
            self._after = 0
            return False
        if not deleted:
            self._after = last
        return True
