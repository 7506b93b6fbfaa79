"""Pulls in the audit log, at no cost to those who pull.

A pull is noted in memory and written in the background with others. A process that is killed loses
what it noted in the seconds before; one that is stopped writes it first.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime

import psycopg2
from prometheus_client import Counter

from atoll.audit.log import Audit, Entry
from atoll.audit.statistics import COUNT_PULLS
from atoll.db.pool import DatabaseUnavailable
from atoll.periodic import PeriodicThread, ThreadRegistry

log = logging.getLogger(__name__)

# Seconds between two writes; how many pulls are held while PostgreSQL is away, and written at once.
_WRITE_SECONDS = 2.0
_HELD_MAXIMUM, _BATCH = 20_000, 1000
# As many batches as may be held, each within the time-outs of the database.
_SILENCE_SECONDS = 600.0

DROPPED = Counter("atoll_pulls_not_logged", "Pulls that the audit log does not have")


class PullLog:
    """Pulls that are not written yet. With COUNTING they are counted by tag and manifest, too."""

    def __init__(self, audit: Audit, *, counting: bool = False) -> None:
        self._audit = audit
        self._beside = COUNT_PULLS if counting else ""
        self._held: deque[Entry] = deque(maxlen=_HELD_MAXIMUM)
        self._thread: PeriodicThread | None = None

    def note(self, entry: Entry) -> None:
        """Note a pull. Where too many are held the oldest is lost."""
        if len(self._held) == _HELD_MAXIMUM:
            DROPPED.inc()
        self._held.append(replace(entry, created_at=datetime.now(UTC)))

    def start(self, registry: ThreadRegistry) -> None:
        """Write pulls in the background."""
        self._thread = registry.repeat(
            "pulls",
            _WRITE_SECONDS,
            self._write,
            delay=_WRITE_SECONDS,
            silence_seconds=_SILENCE_SECONDS,
        )

    def stop(self) -> None:
        """Write the pulls that are held, and end the thread."""
        if self._thread is not None:
            self._thread.stop()
            self._thread.join()
            self._write()

    def _write(self) -> None:
        while self._held:
            batch = [self._held.popleft() for _ in range(min(_BATCH, len(self._held)))]
            try:
                self._audit.write_all(batch, self._beside)
            except DatabaseUnavailable as error:
                log.warning("pulls not logged yet", extra={"cause": str(error)})
                self._held.extendleft(reversed(batch))
                return
            except psycopg2.Error:
                # Trying again would fail again, and hold all that comes after.
                log.exception("pulls not logged")
                DROPPED.inc(len(batch))
