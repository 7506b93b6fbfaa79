"""Backfills in portions of bounded duration, for callers that cannot wait for all blobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from atoll.db.pool import Database
from atoll.errors import UserError
from atoll.placement.rules import targets
from atoll.placement.upkeep.backfill import BATCH, Missing, backfill

# After so many seconds a portion examines no further range of blobs.
_SECONDS = 5.0


class LocationNotRequired(UserError):
    """No blobs are required at a location; the message names those where some are."""


@dataclass(frozen=True)
class Portion:
    """The missing copies of a portion of all blobs.

    Attributes:
        missing: the missing copies at each location.
        done: the greatest id of a blob that was examined.
        last: the greatest id of all blobs.
    """

    missing: list[Missing]
    done: int
    last: int

    @property
    def finished(self) -> bool:
        """Whether no blobs remain to be examined."""
        return self.done >= self.last


def required_targets(database: Database, required: list[str], names: list[str]) -> list[str]:
    """Return the locations to backfill: the given ones, or all where copies may be required.

    Args:
        database: where the policies are.
        required: the default locations.
        names: the given locations.

    Raises:
        LocationNotRequired: no blobs are required at a given location.
        DatabaseUnavailable: the database cannot be reached.
    """
    found = targets(database, required)
    for name in names:
        if name not in found:
            raise LocationNotRequired(
                f"no blobs are required at '{name}'; the required locations are: {', '.join(found)}"
            )
    return names or found


class BoundedBackfill:
    """Finds missing copies, and creates their tasks, one portion of all blobs at a time."""

    def __init__(
        self,
        database: Database,
        required: list[str],
        *,
        seconds: float = _SECONDS,
        batch: int = BATCH,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the backfill.

        Args:
            database: where the placements are.
            required: the default locations.
            seconds: after which a portion examines no further range.
            batch: blobs that one statement examines.
            clock: returns the time in seconds.
        """
        self._database = database
        self._required = required
        self._seconds = seconds
        self._batch = batch
        self._clock = clock

    def portion(self, locations: list[str], *, after: int = 0, queue: bool = False) -> Portion:
        """Examine the next blobs, at least one range of them.

        Args:
            locations: where copies may be missing; all required ones if empty.
            after: `done` of the previous portion.
            queue: whether to create the missing tasks; existing ones become due.

        Raises:
            LocationNotRequired: no blobs are required at a location.
            DatabaseUnavailable: tasks of earlier ranges remain.
        """
        wanted = required_targets(self._database, self._required, locations)
        missing = {name: Missing(name, 0, 0) for name in wanted}
        done = last = after
        end = self._clock() + self._seconds
        for step in backfill(
            self._database,
            self._required,
            wanted=wanted,
            queue=queue,
            after=after,
            batch=self._batch,
        ):
            done, last = step.done, step.last
            for one in step.found:
                total = missing[one.location]
                missing[one.location] = replace(
                    total, blobs=total.blobs + one.blobs, bytes=total.bytes + one.bytes
                )
            if self._clock() >= end:
                break
        return Portion(list(missing.values()), done, last)
