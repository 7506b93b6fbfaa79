"""The bell: PostgreSQL tells who listens that a task was written.

The statement that writes a task notifies (migration 0050), so nobody can forget to ring. It is a
hint: whoever is told claims, and claims every few seconds all the same.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable

import psycopg2

from atoll.db.pool import Database, DatabaseUnavailable

log = logging.getLogger(__name__)

# As the trigger `replicationtask_written` spells it; it says for which location.
CHANNEL = "atoll_replication"


def listen_for_ever(
    database: Database, location: str, seconds: float, ring: Callable[[], None]
) -> None:
    """Call RING whenever there is a new task for LOCATION, on a connection of its own.

    After SECONDS of silence the connection is asked whether it lives; where it does not, a new one
    is opened, after as many seconds.
    """
    while True:
        try:
            _listen(database, location, seconds, ring)
        except (DatabaseUnavailable, psycopg2.Error) as error:
            log.warning("not told of new tasks; polling goes on", extra={"cause": str(error)})
            time.sleep(seconds)


def _listen(database: Database, location: str, seconds: float, ring: Callable[[], None]) -> None:
    connection = database.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
            # What was written before it listened.
            ring()
            while True:
                waiting = select.poll()
                waiting.register(connection.fileno(), select.POLLIN)
                if waiting.poll(seconds * 1000):
                    connection.poll()
                else:
                    cursor.execute("SELECT 1")
                told = {notice.payload for notice in connection.notifies}
                connection.notifies.clear()
                if location in told:
                    ring()
    finally:
        connection.close()
