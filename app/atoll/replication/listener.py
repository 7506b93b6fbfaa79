"""Wake-ups of replication workers by LISTEN and NOTIFY.

A trigger on the task table reports the locations of new tasks to the client that wrote them, as a
notice of the statement, so no code that creates tasks can forget it. That client notifies the
workers after its commit, from a background thread. A wake-up is a hint: workers also poll every few
seconds.
"""

from __future__ import annotations

import json
import logging
import select
import threading
import time
from collections.abc import Callable

import psycopg2

from atoll.db.pool import Database, DatabaseUnavailable

log = logging.getLogger(__name__)

# The payload of a notification is the name of a location. The trigger `replicationtask_written`
# starts its messages with the same word.
CHANNEL = "atoll_replication"
# Seconds between two notifications of one process.
_PAUSE = 0.2

# NOTIFY takes a cluster-wide lock when its transaction commits. It must not wait for a standby
# while it holds the lock, and only briefly for another transaction that does.
_NOTIFY = """
SET LOCAL synchronous_commit = off; SET LOCAL lock_timeout = '1s';
SELECT pg_notify(%(channel)s, location) FROM unnest(%(locations)s::text[]) AS location
"""

_LISTENS = "SELECT %(channel)s IN (SELECT pg_listening_channels())"


class WakeUps:
    """Notifies the workers of locations with new tasks, at most once in `pause` seconds.

    The first wake-up is sent immediately; further ones are sent together after the pause. The
    sending thread ends when nothing is left to send.
    """

    def __init__(self, database: Database, *, pause: float = _PAUSE) -> None:
        self._database = database
        self._pause = pause
        self._pending: set[str] = set()
        self._sending = False
        self._lock = threading.Lock()

    def note(self, message: str) -> None:
        """Wake the workers named by a notice of the task table's trigger; ignore other notices."""
        channel, _, locations = message.partition(" ")
        if channel == CHANNEL:
            self.wake(json.loads(locations))

    def wake(self, locations: list[str]) -> None:
        """Notify the workers of some locations soon; never waits or fails."""
        with self._lock:
            self._pending.update(locations)
            if self._sending:
                return
            self._sending = True
        try:
            threading.Thread(target=self._send_all, name="wake-ups", daemon=True).start()
        except RuntimeError:
            # No thread can be started while the process ends.
            self._sending = False

    def _send_all(self) -> None:
        while locations := self._take():
            try:
                self._database.run(_NOTIFY, {"channel": CHANNEL, "locations": locations})
            except (DatabaseUnavailable, psycopg2.Error) as error:
                log.warning("workers not notified", extra={"cause": str(error)})
            except Exception:
                log.exception("unhandled exception", extra={"activity": "wake-ups"})
            time.sleep(self._pause)

    def _take(self) -> list[str]:
        """Return the locations to notify; the thread ends if there are none."""
        with self._lock:
            locations = sorted(self._pending)
            self._pending.clear()
            self._sending = bool(locations)
            return locations


def listen_until(
    stop: threading.Event,
    database: Database,
    location: str,
    seconds: float,
    *,
    wake: Callable[[], None],
    beat: Callable[[], None],
) -> None:
    """Call a function for each notification of new tasks, until stopped.

    Args:
        stop: checked after each notification and each pause.
        database: provides a dedicated connection.
        location: the location of the tasks.
        seconds: time without a notification after which the connection is checked, and pause before
            a broken connection, or one that does not listen any more, is replaced.
        wake: called from this thread.
        beat: called at least once in `seconds`.
    """
    while not stop.is_set():
        beat()
        try:
            _listen(stop, database, location, seconds, wake=wake, beat=beat)
        except (DatabaseUnavailable, psycopg2.Error) as error:
            log.warning("no wake-ups for new tasks, polling", extra={"cause": str(error)})
        except Exception:
            log.exception("unhandled exception", extra={"activity": "listener"})
        stop.wait(seconds)


def _listen(
    stop: threading.Event,
    database: Database,
    location: str,
    seconds: float,
    *,
    wake: Callable[[], None],
    beat: Callable[[], None],
) -> None:
    connection = database.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
            # For tasks that were created before.
            wake()
            while not stop.is_set():
                beat()
                waiting = select.poll()
                waiting.register(connection.fileno(), select.POLLIN)
                if waiting.poll(seconds * 1000):
                    connection.poll()
                else:
                    cursor.execute(_LISTENS, {"channel": CHANNEL})
                    row = cursor.fetchone()
                    if not (row and row[0]):
                        raise psycopg2.OperationalError(
                            "the session lost its LISTEN; a pooler between Atoll and PostgreSQL"
                            " must pool sessions, not transactions"
                        )
                locations = {notice.payload for notice in connection.notifies}
                connection.notifies.clear()
                if location in locations:
                    wake()
    finally:
        connection.close()
