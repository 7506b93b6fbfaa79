"""The pending work of each location, with its rate and the time until nothing is pending.

The cost does not depend on the number of blobs or tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

from atoll.db.pool import Database
from atoll.placement.delete_queue import queue_lengths
from atoll.placement.upkeep.failing_tasks import FailingTasks
from atoll.placement.upkeep.lag import Lag, lag
from atoll.placement.upkeep.lag_samples import LagSamples, Rate

_POLICIES = "SELECT count(namespace_user_id), count(repository_id) FROM replicationpolicy"


@dataclass(frozen=True)
class LocationReplication:
    """The pending work of a location.

    Attributes:
        lag: the missing copies.
        urgent_blobs: missing copies that are claimed before others.
        rate: the decrease of missing copies; None without two samples of the last minutes.
        seconds_left: the time until nothing is missing at that rate; None if it is unknown.
        objects_to_delete: objects that wait to be deleted.
    """

    lag: Lag
    urgent_blobs: int
    rate: Rate | None
    seconds_left: float | None
    objects_to_delete: int


@dataclass(frozen=True)
class PolicyCounts:
    """The numbers of policies of namespaces and of repositories."""

    namespaces: int
    repositories: int


class ReplicationStatus:
    """Reports the pending work of locations."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._samples = LagSamples(database)
        self._tasks = FailingTasks(database)

    def locations(self) -> list[LocationReplication]:
        """Return the pending work of each location. Raises DatabaseUnavailable."""
        rates, urgent = self._samples.rates(), self._tasks.urgent()
        deletions = queue_lengths(self._database)
        return [
            LocationReplication(
                entry,
                urgent.get(entry.location, 0),
                rate,
                seconds_left(entry, rate),
                deletions.get(entry.location, 0),
            )
            for entry in lag(self._database)
            for rate in [rates.get(entry.location)]
        ]

    def policies(self) -> PolicyCounts:
        """Return the numbers of policies. Raises DatabaseUnavailable."""
        return PolicyCounts(*self._database.read(_POLICIES)[0])


def seconds_left(entry: Lag, rate: Rate | None) -> float | None:
    """Return the time until nothing is missing at a rate; None if it is unknown."""
    if not entry.pending_blobs:
        return 0.0
    return rate.seconds_left(entry.pending_blobs, entry.pending_bytes) if rate else None
