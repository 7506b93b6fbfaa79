"""Replication lag of the database's read replicas, measured in the background.

The primary's WAL position is recorded every few seconds. A replica is current as of the last
recorded position that it has replayed. Unlike `pg_last_xact_replay_timestamp`, this is correct for
an idle primary, and unlike the replica's own statistics, for a replica that is disconnected from
the primary.
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
# Recorded positions that are kept; they span more than the maximum lag.
_POSITIONS = 4 * int(LAG_MAXIMUM / _PAUSE)

_WRITTEN = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
# Null on a server that is not a standby.
_REPLAYED = "SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')"


class ReplicaLag:
    """Measures the lag of replicas behind the primary; thread-safe.

    A replica of unknown lag counts as current: a server that just started, or does not support
    these queries, may be the only one that is available.
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
        # Times at which the primary had reached a position, both ascending.
        self._positions: deque[tuple[float, Decimal]] = deque(maxlen=_POSITIONS)
        # For each replica, the time of the first position that it has not replayed; None if it has
        # replayed all.
        self._behind_since: list[float | None] = [None] * len(self._replicas)
        self._excluded = [False] * len(self._replicas)

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
        """Measure the lag of all replicas once."""
        self._record_position()
        for number, replica in enumerate(self._replicas):
            replayed = _position(replica, _REPLAYED)
            if replayed is not None:
                self._behind_since[number] = self._first_after(replayed)
            self._report(number)

    def _record_position(self) -> None:
        moment, written = self._monotonic(), _position(self._primary, _WRITTEN)
        if written is None:
            return
        if self._positions and written < self._positions[-1][1]:
            # After a failover, the new primary lacks the end of the old one's WAL.
            self._positions.clear()
        if self._positions and written == self._positions[-1][1]:
            return
        self._positions.append((moment, written))

    def _first_after(self, replayed: Decimal) -> float | None:
        for moment, position in self._positions:
            if position > replayed:
                return moment
        return None

    def _lags(self, since: float | None) -> bool:
        return since is not None and self._monotonic() - since > LAG_MAXIMUM

    def _report(self, number: int) -> None:
        """Log when a replica is excluded from reads or included again."""
        since = self._behind_since[number]
        lags = self._lags(since)
        if lags is self._excluded[number]:
            return
        self._excluded[number] = lags
        fields: dict[str, object] = {"replica": f"DB_READ_REPLICAS.{number}"}
        if since is not None and lags:
            fields["lag_seconds"] = round(self._monotonic() - since)
            log.warning("replica excluded, lag too high", extra=fields)
        else:
            log.info("replica included, caught up", extra=fields)


def _position(database: Database, query: str) -> Decimal | None:
    """Return a WAL position; None if the server is unavailable or does not support the query."""
    try:
        position = database.read(query)[0][0]
    except (DatabaseUnavailable, psycopg2.Error) as error:
        log.debug("could not read WAL position", extra={"cause": str(error)})
        return None
    return None if position is None else Decimal(position)
