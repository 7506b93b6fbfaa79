"""Drain a location: empty it of sole copies before it is removed.

A draining location receives no new blobs and is not required any more. Its sole copies become
replication tasks of the required locations that remain.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from atoll.cluster.instances import Instances
from atoll.db.pool import Database
from atoll.placement.locations.errors import ChangeRefused, ReplicationDisabled, StoreUnreachable
from atoll.placement.locations.sole_copies import Remaining, SoleCopies
from atoll.placement.locations.states import LocationTable
from atoll.placement.upkeep.backfill import backfill

# Seconds between two queries for what remains, in addition to the time that a query takes.
_POLL_INTERVAL = 1.0


@dataclass(frozen=True)
class DrainProgress:
    """What a draining location must still be kept for.

    Attributes:
        unreachable: why nothing can be copied from its store at the moment; None if it can.
    """

    remaining: Remaining
    unreachable: StoreUnreachable | None


class Drain:
    """Drain locations.

    Args:
        required: the default locations.
        replication: whether the bundle enables replication.
    """

    def __init__(
        self,
        database: Database,
        table: LocationTable,
        sole_copies: SoleCopies,
        instances: Instances,
        *,
        required: list[str],
        replication: bool,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._table = table
        self._sole_copies = sole_copies
        self._instances = instances
        self._required = required
        self._replication = replication
        self._sleep = sleep
        self._monotonic = monotonic

    def start(self, location: str) -> Remaining:
        """Set a location to draining, queue the copies, and return what it is still kept for.

        For a location that is draining already, missing copies are queued again.

        Raises:
            ReplicationDisabled: nothing would be copied.
            LocationUnknown: there is no such location.
            StoreUnreachable: nothing can be copied from its store. Nothing was changed.
            ChangeRefused: no required location would remain, the location is being removed,
                another command changes the locations, or policies bind blobs to it. Only in the
                last case the location is draining.
        """
        if not self._replication:
            raise ReplicationDisabled
        if unreachable := self._unreachable(location):
            raise unreachable
        self._table.set_draining(location, self._required)
        for _ in backfill(self._database, self._required):
            continue
        if bound := self._sole_copies.bound(location, self._required):
            raise ChangeRefused(
                f"{bound} blobs are only at '{location}', and policies let them be nowhere else:"
                " change those (`atoll policy list`) and drain again"
            )
        return self._sole_copies.remaining(location)

    def watch(self, location: str) -> Iterator[DrainProgress]:
        """Yield the progress of a drain repeatedly, until nothing remains."""
        while True:
            began = self._monotonic()
            remaining = self._sole_copies.remaining(location)
            yield DrainProgress(remaining, self._unreachable(location))
            if not remaining:
                return
            # At most half of the time is spent on queries.
            self._sleep(_POLL_INTERVAL + self._monotonic() - began)

    def _unreachable(self, location: str) -> StoreUnreachable | None:
        """Return an error if there are sole copies, and no instance can read from the store.

        One instance is enough to copy them.
        """
        reachability = self._instances.reachability(location)
        if not reachability.unreachable:
            return None
        remaining = self._sole_copies.remaining(location)
        if not remaining.blobs:
            return None
        host, cause = next(iter(reachability.unreachable_from.items()))
        return StoreUnreachable(
            f"{remaining.blobs} blobs ({remaining.bytes} bytes) are only at '{location}', and no"
            f" site reaches its store ({host}: {cause}), so they cannot be copied: bring it back"
            f" and drain again; if it is gone for good: atoll remove-location {location} --lost"
        )
