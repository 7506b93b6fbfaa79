"""Wake-ups of replication workers by LISTEN and NOTIFY.

A trigger on the task table reports the locations of new tasks to the client that wrote them, as a
notice of the statement, so no code that creates tasks can forget it. That client notifies the
workers after its commit, from a background thread. A wake-up is a hint: workers also poll every few
seconds.
"""

from __future__ import annotations

import json
import logging
import threading
import time

import psycopg2

from atoll.db.notifications import notify
from atoll.db.pool import Database, DatabaseUnavailable

log = logging.getLogger(__name__)

# The payload of a notification is the name of a location. The trigger `replicationtask_written`
# starts its messages with the same word.
CHANNEL = "atoll_replication"
# Seconds between two notifications of one process.
_PAUSE = 0.2


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
                notify(self._database, CHANNEL, locations)
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
