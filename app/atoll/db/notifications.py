"""LISTEN and NOTIFY between processes.

A notification is a hint: it may be lost, so its receivers also poll.
"""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable, Sequence

import psycopg2

from atoll.db.pool import Database, DatabaseUnavailable

log = logging.getLogger(__name__)

# NOTIFY takes a cluster-wide lock when its transaction commits. It must not wait for a standby
# while it holds the lock, and only briefly for another transaction that does.
_NOTIFY = """
SET LOCAL synchronous_commit = off; SET LOCAL lock_timeout = '1s';
SELECT pg_notify(%(channel)s, payload) FROM unnest(%(payloads)s::text[]) AS payload
"""

_LISTENS = "SELECT %(channel)s IN (SELECT pg_listening_channels())"


def notify(database: Database, channel: str, payloads: Sequence[str]) -> None:
    """Send notifications, in a transaction of their own.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
        psycopg2.Error: Another transaction delayed the notification for too long.
    """
    database.run(_NOTIFY, {"channel": channel, "payloads": list(payloads)})


def listen_until(
    stop: threading.Event,
    database: Database,
    channel: str,
    seconds: float,
    *,
    heard: Callable[[frozenset[str] | None], None],
    beat: Callable[[], None],
) -> None:
    """Call a function for each notification, until stopped.

    Args:
        stop: checked after each notification and each pause.
        database: provides a dedicated connection.
        channel: the name of the channel.
        seconds: time without a notification after which the connection is checked, and pause before
            a broken connection, or one that does not listen any more, is replaced.
        heard: called from this thread with the payloads; with None after each connection, because
            earlier notifications may have been missed.
        beat: called at least once in `seconds`.
    """
    while not stop.is_set():
        beat()
        try:
            _listen(stop, database, channel, seconds, heard=heard, beat=beat)
        except (DatabaseUnavailable, psycopg2.Error) as error:
            log.warning(
                "no notifications, polling", extra={"channel": channel, "cause": str(error)}
            )
        except Exception:
            log.exception("unhandled exception", extra={"activity": "listener"})
        stop.wait(seconds)


def _listen(
    stop: threading.Event,
    database: Database,
    channel: str,
    seconds: float,
    *,
    heard: Callable[[frozenset[str] | None], None],
    beat: Callable[[], None],
) -> None:
    connection = database.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {channel}")
            heard(None)
            while not stop.is_set():
                beat()
                waiting = select.poll()
                waiting.register(connection.fileno(), select.POLLIN)
                if waiting.poll(seconds * 1000):
                    connection.poll()
                else:
                    cursor.execute(_LISTENS, {"channel": channel})
                    row = cursor.fetchone()
                    if not (row and row[0]):
                        raise psycopg2.OperationalError(
                            "the session lost its LISTEN; a pooler between Atoll and PostgreSQL"
                            " must pool sessions, not transactions"
                        )
                payloads = frozenset(notice.payload for notice in connection.notifies)
                connection.notifies.clear()
                if payloads:
                    heard(payloads)
    finally:
        connection.close()
