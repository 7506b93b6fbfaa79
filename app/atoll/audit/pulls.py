"""Audit log entries for pulls, written in the background so that pulls are not delayed.

Entries are buffered in memory and written in batches. A process that is killed loses the entries of
the last seconds; one that is stopped writes them first.
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

# Seconds between writes, the entries that are buffered while PostgreSQL is unavailable, and the
# entries per statement.
_WRITE_SECONDS = 2.0
_BUFFER_MAXIMUM, _BATCH = 20_000, 1000
# The time for writing a full buffer, with each batch within the time-outs of the database.
_SILENCE_SECONDS = 600.0

DROPPED = Counter("atoll_pulls_not_logged", "Pulls that were not written to the audit log")


class PullLog:
    """Buffers log entries for pulls, and writes them in the background.

    With `counting`, pulls are also counted by tag and manifest.
    """

    def __init__(self, audit: Audit, *, counting: bool = False) -> None:
        self._audit = audit
        self._count_pulls = COUNT_PULLS if counting else ""
        self._buffer: deque[Entry] = deque(maxlen=_BUFFER_MAXIMUM)
        self._thread: PeriodicThread | None = None

    def note(self, entry: Entry) -> None:
        """Buffer the entry of a pull; a full buffer drops its oldest entry."""
        if len(self._buffer) == _BUFFER_MAXIMUM:
            DROPPED.inc()
        if entry.created_at is None:
            entry = replace(entry, created_at=datetime.now(UTC))
        self._buffer.append(entry)

    def start(self, registry: ThreadRegistry) -> None:
        """Start writing in the background."""
        self._thread = registry.repeat(
            "pulls",
            _WRITE_SECONDS,
            self._write,
            delay=_WRITE_SECONDS,
            silence_seconds=_SILENCE_SECONDS,
        )

    def stop(self) -> None:
        """Stop the thread, and write the buffered entries."""
        if self._thread is not None:
            self._thread.stop()
            self._thread.join()
            self._write()

    def _write(self) -> None:
        while self._buffer:
            batch = [self._buffer.popleft() for _ in range(min(_BATCH, len(self._buffer)))]
            try:
                self._audit.write_all(batch, self._count_pulls)
            except DatabaseUnavailable as error:
                log.warning("database unavailable, pulls buffered", extra={"cause": str(error)})
                self._buffer.extendleft(reversed(batch))
                return
            except psycopg2.Error:
                # A retry would fail again and block all later entries.
                log.exception("could not log pulls, entries dropped", extra={"dropped": len(batch)})
                DROPPED.inc(len(batch))
