"""Wake-ups of workers by LISTEN and NOTIFY.

Triggers report new work to the client that wrote it, as a notice of the statement, so no code that
creates work can forget it. That client notifies the workers after its commit, from a background
thread. A wake-up is a hint: workers also poll.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable

import psycopg2

from atoll.db.notifications import notify
from atoll.db.pool import Database, DatabaseUnavailable

log = logging.getLogger(__name__)

# Triggers start their messages with the name of a channel. The payload of a notification is the
# name of a location, or the kind of work of mirrors.
REPLICATION_CHANNEL = "atoll_replication"
MIRROR_CHANNEL = "atoll_mirror"
SCAN_CHANNEL = "atoll_scan"
_CHANNELS = frozenset({REPLICATION_CHANNEL, MIRROR_CHANNEL, SCAN_CHANNEL})
# Seconds between two notifications of one process.
_PAUSE = 0.2


class WakeUps:
    """Notifies the workers of new work, at most once in `pause` seconds.

    The first wake-up is sent immediately; further ones are sent together after the pause. The
    sending thread ends when nothing is left to send.
    """

    def __init__(self, database: Database, *, pause: float = _PAUSE) -> None:
        self._database = database
        self._pause = pause
        # Channels with payloads.
        self._pending: set[tuple[str, str]] = set()
        self._sending = False
        self._lock = threading.Lock()

    def note(self, message: str) -> None:
        """Wake the workers named by a notice of a trigger; ignore other notices."""
        channel, _, payloads = message.partition(" ")
        if channel in _CHANNELS:
            self.wake(channel, json.loads(payloads))

    def wake(self, channel: str, payloads: Iterable[str]) -> None:
        """Notify some workers soon; never waits or fails.

        Args:
            channel: The channel that they listen to.
            payloads: What they are told: one notification each.
        """
        with self._lock:
            self._pending.update((channel, payload) for payload in payloads)
            if self._sending:
                return
            self._sending = True
        try:
            threading.Thread(target=self._send_all, name="wake-ups", daemon=True).start()
        except RuntimeError:
            # No thread can be started while the process ends.
            self._sending = False

    def _send_all(self) -> None:
        while pending := self._take():
            for channel, payloads in pending.items():
                self._send(channel, payloads)
            time.sleep(self._pause)

    def _send(self, channel: str, payloads: list[str]) -> None:
        try:
            notify(self._database, channel, payloads)
        except (DatabaseUnavailable, psycopg2.Error) as error:
            log.warning("workers not notified", extra={"cause": str(error)})
        except Exception:
            log.exception("unhandled exception", extra={"activity": "wake-ups"})

    def _take(self) -> dict[str, list[str]]:
        """Return the payloads to send by channel; the thread ends if there are none."""
        with self._lock:
            pending: dict[str, list[str]] = {}
            for channel, payload in sorted(self._pending):
                pending.setdefault(channel, []).append(payload)
            self._pending.clear()
            self._sending = bool(pending)
            return pending
