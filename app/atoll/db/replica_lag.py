"""How far each replica of the database is behind the primary, measured in the background.

The primary's position in its log is noted every few seconds. A replica has everything up to the
last noted position that it has replayed. Unlike `pg_last_xact_replay_timestamp` this is right for
an idle primary, and unlike the replica's own view for one that lost its connection to the primary.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal

import psycopg2

from atoll.db.pool import Database, DatabaseUnavailable
from atoll.periodic import ThreadRegistry

log = logging.getLogger(__name__)

# Seconds between two measurements, and the lag beyond which a replica is not read from.
_PAUSE = 5.0
# Longer than the time-outs of the primary and of several replicas together.
_SILENCE_SECONDS = 300.0
LAG_MAXIMUM = 60.0
# Notes that are kept, of more than the maximum lag.
_NOTES = 4 * int(LAG_MAXIMUM / _PAUSE)

_WRITTEN = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
# Null at a server that is no standby.
_REPLAYED = "SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')"


class ReplicaLag:
    """Measures the lag of REPLICAS behind PRIMARY; safe for any thread.

    A replica whose lag is not known counts as current: a server that just started, or does not
    answer these questions, may be the only one that is left.
    """

    def __init__(
        self,
        primary: Database,
        replicas: Sequence[Database],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._primary = primary
        self._replicas = list(replicas)
        self._monotonic = monotonic
        # When the primary was at least at a position: times and positions ascend.
        self._notes: deque[tuple[float, Decimal]] = deque(maxlen=_NOTES)
        # The time of the first note that a replica has not reached; none if it has all.
        self._behind_since: list[float | None] = [None] * len(self._replicas)
        self._left_out = [False] * len(self._replicas)

    def start(self, registry: ThreadRegistry) -> None:
        """Measure in a background thread, until the process ends."""
        if self._replicas:
            registry.repeat("replica-lag", _PAUSE, self.measure, silence_seconds=_SILENCE_SECONDS)

    def current(self) -> list[Database]:
        """Return the replicas that are not known to lag more than LAG_MAXIMUM seconds."""
        return [
            replica
            for replica, since in zip(self._replicas, self._behind_since, strict=True)
            if not self._lags(since)
        ]

    def measure(self) -> None:
        """Measure once."""
        self._note()
        for number, replica in enumerate(self._replicas):
            replayed = _position(replica, _REPLAYED)
            if replayed is not None:
                self._behind_since[number] = self._first_after(replayed)
            self._report(number)

    def _note(self) -> None:
        moment, written = self._monotonic(), _position(self._primary, _WRITTEN)
        if written is None:
            return
        if self._notes and written < self._notes[-1][1]:
            # Another primary, which did not get everything of the one before.
            self._notes.clear()
        if self._notes and written == self._notes[-1][1]:
            return
        self._notes.append((moment, written))

    def _first_after(self, replayed: Decimal) -> float | None:
        for moment, position in self._notes:
            if position > replayed:
                return moment
        return None

    def _lags(self, since: float | None) -> bool:
        return since is not None and self._monotonic() - since > LAG_MAXIMUM

    def _report(self, number: int) -> None:
        """Log a replica that is left out from now on, or read from again."""
        since = self._behind_since[number]
        lags = self._lags(since)
        if lags is self._left_out[number]:
            return
        self._left_out[number] = lags
        fields: dict[str, object] = {"replica": f"DB_READ_REPLICAS.{number}"}
        if since is not None and lags:
            fields["lag_seconds"] = round(self._monotonic() - since)
            log.warning("replica lags, not read from", extra=fields)
        else:
            log.info("replica caught up, read from again", extra=fields)


def _position(database: Database, question: str) -> Decimal | None:
    """Return a position in the log; None where the server cannot say."""
    try:
        position = database.read(question)[0][0]
    except (DatabaseUnavailable, psycopg2.Error) as error:
        log.debug("position of the log not read", extra={"cause": str(error)})
        return None
    return None if position is None else Decimal(position)
