"""Listen for PostgreSQL's notifications of new tasks.

A trigger on the task table notifies (migration 0050), so no statement that writes tasks can forget
it. A notification is a hint: workers also poll.
"""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable

import psycopg2

from atoll.db.pool import Database, DatabaseUnavailable

log = logging.getLogger(__name__)

# As in the trigger `replicationtask_written`; the payload is the location's name.
CHANNEL = "atoll_replication"


def listen_until(
    stop: threading.Event,
    database: Database,
    location: str,
    seconds: float,
    *,
    ring: Callable[[], None],
    beat: Callable[[], None],
) -> None:
    """Call RING whenever there is a new task for LOCATION, until STOP is set.

    Args:
        stop: checked after each notification and each pause.
        database: gives a connection that is used for nothing else.
        location: the location whose notifications count.
        seconds: after so much silence the connection is checked; a broken one is replaced after as
            many seconds.
        ring: called from this thread.
        beat: called at least every few SECONDS.
    """
    while not stop.is_set():
        beat()
        try:
            _listen(stop, database, location, seconds, ring=ring, beat=beat)
        except (DatabaseUnavailable, psycopg2.Error) as error:
            log.warning("not notified of new tasks, polling only", extra={"cause": str(error)})
            stop.wait(seconds)
        except Exception:
            # Polling replaces notifications, but only the next attempt brings them back.
            log.exception("unhandled exception while listening for new tasks")
            stop.wait(seconds)


def _listen(
    stop: threading.Event,
    database: Database,
    location: str,
    seconds: float,
    *,
    ring: Callable[[], None],
    beat: Callable[[], None],
) -> None:
    connection = database.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
            # For tasks that were written before it listened.
            ring()
            while not stop.is_set():
                beat()
                waiting = select.poll()
                waiting.register(connection.fileno(), select.POLLIN)
                if waiting.poll(seconds * 1000):
                    connection.poll()
                else:
                    cursor.execute("SELECT 1")
                notified = {notice.payload for notice in connection.notifies}
                connection.notifies.clear()
                if location in notified:
                    ring()
    finally:
        connection.close()
