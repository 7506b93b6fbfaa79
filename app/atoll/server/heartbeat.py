"""Tell the database, for as long as this process lives, that this instance is here."""

from __future__ import annotations

import logging
import os
import threading
import time
from uuid import UUID

from atoll.cluster.instances import HEARTBEAT_INTERVAL, Heartbeat
from atoll.db.pool import DatabaseUnavailable
from atoll.services import Services

# The identifier that the processes of one registry share.
INSTANCE_VARIABLE = "ATOLL_INSTANCE"
_LOOK_SECONDS = 1.0

log = logging.getLogger(__name__)


class Announcer:
    """Gives signs of life in the background: each half minute, and when a store comes or goes."""

    def __init__(self, graph: Services, role: str) -> None:
        shared = os.environ.get(INSTANCE_VARIABLE)
        self._heartbeat = Heartbeat(
            graph.database,
            graph.bundle,
            role,
            graph.locations.health,
            UUID(shared) if shared else None,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._for_ever, name="presence", daemon=True)

    def start(self) -> None:
        """Give the first sign of life, and go on."""
        self._thread.start()

    def stop(self) -> None:
        """Tell that this instance ends; where that cannot be told, it is missed for a while."""
        self._stop.set()
        self._thread.join()
        try:
            self._heartbeat.withdraw()
        except DatabaseUnavailable as error:
            log.warning("instance not withdrawn", extra={"cause": str(error)})

    def _for_ever(self) -> None:
        told, due = None, 0.0
        while not self._stop.is_set():
            seen = self._heartbeat.stores()
            if seen != told or time.monotonic() >= due:
                self._record()
                told, due = seen, time.monotonic() + HEARTBEAT_INTERVAL
            self._stop.wait(_LOOK_SECONDS)

    def _record(self) -> None:
        try:
            self._heartbeat.record()
        except DatabaseUnavailable as error:
            log.warning("no sign of life given", extra={"cause": str(error)})
        except Exception:
            # Before the first migration there is no table; afterwards this is a bug to be told.
            log.exception("no sign of life given, for a reason that nobody thought of")
