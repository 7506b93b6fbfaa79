"""Report the status of the whole registry: instances, stores, missing copies, pending deletions.

The cost does not depend on the number of blobs, so that monitoring can request it every minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from atoll.cluster.instances import Instance, Instances
from atoll.db.pool import Database
from atoll.placement.delete_queue import queue_lengths
from atoll.placement.replication_status import seconds_left
from atoll.placement.site_views import report_of, site_views
from atoll.placement.upkeep.lag import Lag, lag
from atoll.placement.upkeep.lag_samples import LagSamples, Rate
from atoll.storage.states import REMOVED


@dataclass(frozen=True)
class StatusReport:
    """The status of the registry, as `atoll status` prints it.

    Attributes:
        locations: missing copies, by location.
        deletions: objects that wait to be deleted, by location.
        rates: the decrease of missing copies, of locations with samples of the last minutes.
    """

    instances: list[Instance]
    locations: list[Lag]
    deletions: Mapping[str, int]
    rates: Mapping[str, Rate]

    def down_at(self, location: str) -> list[tuple[Instance, str]]:
        """Return the running instances that report a store as unhealthy, each with the cause."""
        return [
            (one, str(one.stores[location]["cause"]))
            for one in self.instances
            if not one.lost and one.stores.get(location, {}).get("up") is False
        ]

    def problems(self, maximum_lag: float | None = None) -> list[str]:
        """Return one sentence for each problem that needs an operator.

        Args:
            maximum_lag: seconds for which a copy may be missing; None for any time.
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
        """Return the health of a store as each running instance reports it."""
        return [
            {
                "hostname": one.hostname,
                "role": one.role,
                "preference": one.preference,
                **report_of(one, location),
            }
            for one in self.instances
            if not one.lost and location in one.stores
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the response of the API, which the command line prints as JSON, too."""
        return {
            "instances": [
                {
                    **asdict(one),
                    "stores": {name: report_of(one, name) for name in one.stores},
                    "started_at": one.started_at.isoformat(),
                    "certificate_expires_at": _text(one.certificate_expires_at),
                }
                for one in self.instances
            ],
            "locations": [
                {
                    **entry.as_dict(),
                    "bytes_per_second": rate.bytes if rate else None,
                    "eta_seconds": seconds_left(entry, rate),
                    "objects_to_delete": self.deletions.get(entry.location, 0),
                    "down_at": [one.hostname for one, _ in self.down_at(entry.location)],
                    "sites": [asdict(one) for one in site_views(self.instances, entry.location)],
                    "seen_by": self._seen_by(entry.location),
                }
                for entry in self.locations
                for rate in [self.rates.get(entry.location)]
            ],
            "problems": self.problems(),
        }


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


class StatusReporter:
    """Compose the status from the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._instances = Instances(database)
        self._samples = LagSamples(database)

    def report(self) -> StatusReport:
        """Return the current status. Raises DatabaseUnavailable."""
        return StatusReport(
            self._instances.all(),
            lag(self._database),
            queue_lengths(self._database),
            self._samples.rates(),
        )
