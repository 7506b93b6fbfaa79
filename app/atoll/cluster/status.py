"""Everything at a glance: the instances, the locations as these see them, what is to be done there.

Cheap at any size, so that monitoring can ask each minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from atoll.cluster.instances import Instance, instances
from atoll.db.pool import Database
from atoll.placement.delete_queue import queue_lengths
from atoll.placement.upkeep.lag import Lag, lag
from atoll.storage.states import REMOVED


@dataclass(frozen=True)
class Overview:
    """What `atoll status` shows."""

    instances: list[Instance]
    locations: list[Lag]
    deletions: Mapping[str, int]

    def down_at(self, location: str) -> list[tuple[Instance, str]]:
        """Return who says that a location's store is down, and why."""
        return [
            (one, str(one.stores[location]["cause"]))
            for one in self.instances
            if not one.lost and one.stores.get(location, {}).get("up") is False
        ]

    def problems(self, maximum_lag: float | None = None) -> list[str]:
        """Return a sentence for each thing that somebody should look at.

        MAXIMUM_LAG is the number of seconds that a copy may be due; None: any.
        """
        found = [
            f"{one.role} of {' '.join(one.preference)} was seen {one.seen_seconds_ago:.0f} s ago"
            for one in self.instances
            if one.lost
        ]
        found += [
            f"{one.role} on {one.hostname} has another bundle: {', '.join(one.drift)}"
            for one in self.instances
            if one.drift
        ]
        for entry in self.locations:
            if entry.state == REMOVED:
                continue
            found += [
                f"{one.role} on {one.hostname} ({' '.join(one.preference)}) finds the store of"
                f" {entry.location} down: {cause}"
                for one, cause in self.down_at(entry.location)
            ]
            if entry.failing_blobs:
                found.append(
                    f"{entry.failing_blobs} copies to {entry.location} failed last time:"
                    f" {entry.last_error}"
                )
            if maximum_lag is not None and entry.oldest_seconds > maximum_lag:
                found.append(
                    f"a copy to {entry.location} has been due for {entry.oldest_seconds:.0f} s"
                )
        return found

    def _seen_by(self, location: str) -> list[dict[str, Any]]:
        """Return how each living instance sees the location's store; an old version tells less."""
        return [
            {
                "hostname": one.hostname,
                "role": one.role,
                "preference": one.preference,
                "serves": None,
                **one.stores[location],
            }
            for one in self.instances
            if not one.lost and location in one.stores
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "instances": [
                {**asdict(one), "started_at": one.started_at.isoformat()} for one in self.instances
            ],
            "locations": [
                {
                    **entry.as_dict(),
                    "objects_to_delete": self.deletions.get(entry.location, 0),
                    "down_at": [one.hostname for one, _ in self.down_at(entry.location)],
                    "seen_by": self._seen_by(entry.location),
                }
                for entry in self.locations
            ],
            "problems": self.problems(),
        }


def overview(database: Database) -> Overview:
    """Return how things are now. Raises DatabaseUnavailable."""
    return Overview(instances(database), lag(database), queue_lengths(database))
