"""The life cycle of a location, for the command line, Quay's commands and the API alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from atoll.cluster.instances import Instances
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.placement.checks.verify import PlacementCheck, Verifier
from atoll.placement.locations.drain import Drain, DrainProgress
from atoll.placement.locations.errors import ChangeRefused, LossNotAccepted
from atoll.placement.locations.lost import Loss, Losses, LossPreview
from atoll.placement.locations.remove import Removal, RemovalStep
from atoll.placement.locations.sole_copies import Remaining, SafeCopies, SoleCopies, SoleCopy
from atoll.placement.locations.states import LocationTable
from atoll.placement.locations.usage import LocationUsage, Usage
from atoll.placement.placement_cache import PlacementCache
from atoll.placement.survivors import Checked, check_survivors
from atoll.storage.states import ACTIVE, READ_ONLY

# Digests that one call removes from the cache.
_FORGET_BATCH = 1000


@dataclass(frozen=True)
class CopyRequirements:
    """The copies at other locations that count in the proof of a removal.

    Attributes:
        verified_within: count only copies that were hashed in so many seconds; None for any.
        count_unreachable: also count copies in stores that no instance can read from.
    """

    verified_within: int | None = None
    count_unreachable: bool = False


DEFAULT_REQUIREMENTS = CopyRequirements()


class SurvivorsUnverified(ChangeRefused):
    """Copies that would be sole copies after a removal are wrong, or could not be checked."""

    def __init__(self, location: str, bad: list[PlacementCheck], checked: int) -> None:
        super().__init__(
            f"{len(bad)} of {checked} copies that would remain alone are wrong, or could not be"
            f" checked from here; nothing was changed: atoll verify --heal, then drain {location}"
            " again"
        )
        self.bad = bad


class LocationLifeCycle:
    """Drain, remove, undo, declare lost: every change of a location, with its refusals.

    Refusals are `LocationError`s, whose messages name the remedy. Everything raises
    DatabaseUnavailable.

    Args:
        database: a pool with a long timeout; most methods read every blob of a location.
        required: the default locations.
        replication: whether the bundle enables replication.
        cache: the cached placements of blobs.
    """

    def __init__(
        self,
        database: Database,
        instances: Instances,
        *,
        required: list[str],
        replication: bool,
        cache: PlacementCache,
    ) -> None:
        self._database = database
        self._instances = instances
        self._cache = cache
        self._table = LocationTable(database)
        self._sole_copies = SoleCopies(database)
        self._losses = Losses(database)
        self._removal = Removal(self._table)
        self._usage = Usage(database, self._sole_copies, required)
        self._drain = Drain(
            database,
            self._table,
            self._sole_copies,
            instances,
            required=required,
            replication=replication,
        )

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle,
        database: Database,
        instances: Instances,
        cache: PlacementCache,
    ) -> LocationLifeCycle:
        """Return the life cycle of the locations of a bundle."""
        return cls(
            database,
            instances,
            required=bundle.required_locations,
            replication=bundle.feature_storage_replication,
            cache=cache,
        )

    def states(self) -> dict[str, str]:
        """Return the state of each location."""
        return self._table.states()

    def usage(self) -> list[LocationUsage]:
        """Return what each location holds and lacks."""
        return self._usage.report()

    def sole_copies(self, location: str, limit: int) -> list[SoleCopy]:
        """Return the first blobs that have their sole copy at a location."""
        return self._sole_copies.list(location, limit)

    def activate(self, location: str) -> None:
        """Read from a location and write to it. Missing copies are queued in the background."""
        self._table.set_state(location, ACTIVE)

    def make_read_only(self, location: str) -> None:
        """Read from a location, and write nothing to it."""
        self._table.set_state(location, READ_ONLY)

    def drain(self, location: str) -> Remaining:
        """Start or resume to drain a location; return what it must still be kept for.

        Raises:
            LocationError: see `Drain.start`.
        """
        return self._drain.start(location)

    def watch_drain(self, location: str) -> Iterator[DrainProgress]:
        """Yield the progress of a drain repeatedly, until nothing remains."""
        return self._drain.watch(location)

    def check_removal(
        self, location: str, requirements: CopyRequirements = DEFAULT_REQUIREMENTS
    ) -> int:
        """Return how many placements a removal would delete, or refuse it; nothing is changed.

        Raises:
            LocationUnknown: there is no such location.
            ChangeRefused: it cannot be removed.
        """
        return self._removal.check(location, self._safe_copies(location, requirements))

    def check_survivors(self, location: str, verifier: Verifier) -> Iterator[Checked]:
        """Check in the stores each copy that would be a sole copy after a removal.

        Yields:
            The copies of a range of blobs.

        Raises:
            SurvivorsUnverified: at the end, if copies are wrong or could not be checked.
        """
        bad: list[PlacementCheck] = []
        checked = 0
        for step in check_survivors(self._database, verifier, location):
            checked += len(step.copies)
            bad += step.bad
            yield step
        if bad:
            raise SurvivorsUnverified(location, bad, checked)

    def remove(
        self, location: str, requirements: CopyRequirements = DEFAULT_REQUIREMENTS
    ) -> Iterator[RemovalStep]:
        """Remove a drained location, or resume its removal.

        Yields:
            The result of each step. The removal has ended when the iterator has.

        Raises:
            LocationUnknown: there is no such location.
            ChangeRefused: see `Removal.steps`.
        """
        return self._removal.steps(location, safe=self._safe_copies(location, requirements))

    def undo_removal(self, location: str) -> None:
        """Restore the placements and the state of a location whose removal has not ended."""
        self._removal.undo(location)

    def expected_loss(self, location: str) -> Loss:
        """Return what would be lost if the store of a location is lost.

        Raises:
            LocationUnknown: there is no such location.
            ChangeRefused: no other location would remain.
        """
        self._removal.check_lost(location)
        return self._losses.expected(location)

    def preview_loss(self, location: str, limit: int) -> LossPreview:
        """Return the expected loss in numbers, with its first images and blobs.

        Args:
            location: the name of the location.
            limit: the number of images, and of blobs, to list.

        Raises:
            LocationUnknown: there is no such location.
            ChangeRefused: no other location would remain.
        """
        self._removal.check_lost(location)
        return self._losses.preview(location, limit)

    def require_store_lost(self, location: str, loss: Loss) -> None:
        """Raise ChangeRefused while an instance could still copy some of the lost blobs."""
        hosts = self._instances.reachability(location).reachable_from
        if hosts and loss.good:
            raise ChangeRefused(
                f"the store of '{location}' answers {', '.join(hosts)}, and {loss.good} of these"
                f" blobs are good there, by all that is known: copy them, atoll drain {location}"
                f" --wait. If they are not there: atoll verify --location {location} --heal, then"
                " this again. Nothing was changed."
            )

    @staticmethod
    def require_accepted(location: str, loss: Loss, accepted: int | None) -> None:
        """Raise LossNotAccepted unless exactly the number of lost blobs was accepted."""
        count = len(loss.blobs)
        if accepted is None:
            raise LossNotAccepted(
                f"nothing was changed; to lose these {count} blobs and remove '{location}' say"
                f" --accept-loss {count}"
            )
        if accepted != count:
            raise LossNotAccepted(
                f"{count} blobs would be lost with '{location}', not {accepted}; nothing was"
                " changed"
            )

    def declare_lost(self, location: str, loss: Loss) -> Iterator[RemovalStep]:
        """Remove a location whose store is lost, with exactly the expected loss.

        Afterwards the lost blobs are not cached any more, and the site's instances, which may have
        died with the store, do not count as lost.

        Yields:
            The result of each step.

        Raises:
            LocationUnknown: there is no such location.
            ChangeRefused: see `Removal.steps`.
            LossNotAccepted: another number of blobs would be lost. Nothing was changed.
        """
        yield from self._removal.steps(location, accepted_loss=len(loss.blobs))
        digests = (blob.digest for blob in loss.blobs)
        while batch := list(islice(digests, _FORGET_BATCH)):
            self._cache.forget(*batch)
        self._instances.forget_site(location)

    def lost_blobs(self) -> Loss:
        """Return the blobs that were lost with locations, are used, and were not pushed again."""
        return self._losses.recorded()

    def _safe_copies(self, location: str, requirements: CopyRequirements) -> SafeCopies:
        unreachable: tuple[str, ...] = ()
        if not requirements.count_unreachable:
            others = [name for name in self._table.states() if name != location]
            unreachable = self._instances.unreachable(others)
        return SafeCopies(unreachable, requirements.verified_within)
