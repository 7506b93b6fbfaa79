"""The listener that keeps the tags in memory valid (`tag_cache`).

Triggers notify within the transaction that changes a tag, so that a notification is as certain as
the change. PostgreSQL sends a session its notifications before the answer to its next query.
Therefore the answer to a query proves that all notifications of commits that were confirmed before
the query have arrived. The listener asks such a query several times a second.

Nothing is notified while no process listens. A listener therefore writes a row, and trusts
notifications only when all transactions that may have overlooked the row have ended, and as long as
the row counts for the triggers. If it ceased to count, the listener starts again.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import psycopg2

from atoll.db.pool import Database, DatabaseUnavailable
from atoll.periodic import ThreadRegistry
from atoll.registry.tag_cache import TagCache

log = logging.getLogger(__name__)

CHANNEL = "atoll_tags"
# Seconds between two proofs, and seconds for which one holds, from its query on. A site whose
# answers take longer than the difference keeps nothing.
_PROOF_SECONDS, _VALID_SECONDS = 0.3, 1.0
# Seconds between two renewals of the row, and seconds after which a listener stops to rely on it,
# before the triggers do.
_RENEWAL_SECONDS, _RELIANCE_SECONDS = 60.0, 600.0
_RETRY_SECONDS = 1.0
# Longer than the time-outs of the database for all its hosts.
_SILENCE_SECONDS = 300.0
_OVERLOOKED = "changes may have overlooked this process, because its row in taglistener is outdated"

# Write the row of this process, and delete those of processes that ended long ago.
_REGISTER = """
INSERT INTO taglistener (id) VALUES (%(id)s)
ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp();
DELETE FROM taglistener WHERE seen_at < clock_timestamp() - interval '1 day';
"""

# Renew the row of this process if no change can have overlooked it.
_RENEW = """
UPDATE taglistener SET seen_at = clock_timestamp()
WHERE id = %(id)s AND id IN (SELECT id FROM currenttaglistener)
"""

# The first transaction that begins later.
_HORIZON = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"

# Whether the session still listens, at a server that accepts writes, whether the row counts, and
# whether all transactions before the horizon have ended.
_PROVE = """
SELECT %(channel)s IN (SELECT pg_listening_channels()) AND NOT pg_is_in_recovery(),
       %(id)s IN (SELECT id FROM currenttaglistener),
       pg_snapshot_xmin(pg_current_snapshot()) >= %(horizon)s::text::xid8
"""


class TagListener:
    """Receives notifications of changed tags in a background thread, and proves that it does."""

    def __init__(
        self,
        database: Database,
        cache: TagCache,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._cache = cache
        self._monotonic = monotonic
        self._id: UUID = uuid4()
        self._stopped = threading.Event()
        self._registry: ThreadRegistry | None = None
        self._thread: threading.Thread | None = None

    def start(self, registry: ThreadRegistry) -> None:
        """Listen in the background."""
        self._registry = registry
        self._thread = registry.start("tag-listener", self._run, silence_seconds=_SILENCE_SECONDS)

    def stop(self) -> None:
        """Stop the thread; nothing is kept in memory afterwards."""
        self._stopped.set()
        if self._registry is not None and self._thread is not None:
            self._registry.forget(self._thread)
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._beat()
            try:
                self._listen()
            except (DatabaseUnavailable, psycopg2.Error) as error:
                log.warning("tags not kept in memory", extra={"cause": str(error).strip()})
            except Exception:
                log.exception("unhandled exception", extra={"activity": "tag-listener"})
            finally:
                self._cache.distrust()
            self._stopped.wait(_RETRY_SECONDS)

    def _listen(self) -> None:
        with closing(self._database.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
            renewed = self._monotonic()
            cursor.execute(_REGISTER, {"id": self._id})
            cursor.execute(_HORIZON)
            horizon = _row(cursor)[0]
            while not self._stopped.is_set():
                self._beat()
                if self._monotonic() - renewed > _RENEWAL_SECONDS:
                    renewed = self._renew(cursor)
                began = self._monotonic()
                parameters = {"channel": CHANNEL, "id": self._id, "horizon": horizon}
                cursor.execute(_PROVE, parameters)
                listening, counts, settled = _row(cursor)
                if not listening:
                    raise psycopg2.OperationalError("the session does not listen any more")
                if not counts:
                    raise psycopg2.OperationalError(_OVERLOOKED)
                self._forget_notified(connection)
                if settled:
                    reliance_end = renewed + _RELIANCE_SECONDS
                    self._cache.prove(min(began + _VALID_SECONDS, reliance_end))
                self._receive(connection, began + _PROOF_SECONDS)

    def _renew(self, cursor: Any) -> float:
        """Renew the row, and return the time from which on it counts."""
        began = self._monotonic()
        cursor.execute(_RENEW, {"id": self._id})
        if not cursor.rowcount:
            raise psycopg2.OperationalError(_OVERLOOKED)
        return began

    def _receive(self, connection: psycopg2.extensions.connection, until: float) -> None:
        """Forget what notifications name, as soon as they arrive."""
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLIN)
        while not self._stopped.is_set():
            left = until - self._monotonic()
            if left <= 0 or not waiting.poll(left * 1000):
                return
            connection.poll()
            self._forget_notified(connection)

    def _forget_notified(self, connection: psycopg2.extensions.connection) -> None:
        notices, connection.notifies[:] = list(connection.notifies), []
        for payload in dict.fromkeys(notice.payload for notice in notices):
            self._cache.forget(payload)

    def _beat(self) -> None:
        if self._registry is not None:
            self._registry.beat()


def _row(cursor: Any) -> Any:
    row = cursor.fetchone()
    if row is None:
        raise psycopg2.OperationalError("a query without an answer")
    return row
