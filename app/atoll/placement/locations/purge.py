"""Delete all objects of a location that is gone from its store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from atoll.cluster.instances import Instances
from atoll.config.stores import StoreSettings
from atoll.placement.locations.errors import StoreInUse
from atoll.placement.locations.states import LocationTable
from atoll.storage.base import ObjectStore
from atoll.storage.drivers import make_store
from atoll.storage.errors import LocationMismatch
from atoll.storage.location_marker import require_own
from atoll.storage.purge import (
    StorePathShared,
    abort_all_uploads,
    count_objects,
    delete_objects,
    require_unshared_path,
)


@dataclass
class PurgeReport:
    """The objects that were found or deleted.

    Attributes:
        uploads: multipart uploads that were aborted.
        deleted: whether objects were deleted, rather than counted.
        complete: whether all objects were counted, or no object is left.
    """

    location: str
    objects: int = 0
    bytes: int = 0
    uploads: int = 0
    deleted: bool = False
    complete: bool = True


class StorePurge:
    """Empty the store of a location that was removed.

    Args:
        stores: the stores of this site's bundle, by location.
        ca_bundle: a file of CA certificates for TLS connections; the system's if None.
    """

    def __init__(
        self,
        table: LocationTable,
        instances: Instances,
        *,
        stores: Mapping[str, StoreSettings],
        ca_bundle: str | None,
    ) -> None:
        self._table = table
        self._instances = instances
        self._stores = stores
        self._ca_bundle = ca_bundle

    def open(self, location: str, known: Mapping[str, StoreSettings]) -> ObjectStore:
        """Return the store of a location, once its objects are known to belong to it alone.

        Args:
            known: the stores of an older bundle, by location, that still has this one.

        Raises:
            StoreInUse: the bucket or path is, or may be, shared with another location.
            StoreUnavailable: the store did not answer which location it belongs to.
        """
        others = {**known, **self._stores}
        others.pop(location)
        try:
            require_unshared_path(location, known[location], others)
            store = make_store(location, known[location], ca_bundle=self._ca_bundle)
            require_own(store)
        except (StorePathShared, LocationMismatch) as error:
            raise StoreInUse(f"{error}; nothing was deleted") from error
        return store

    def count(self, store: ObjectStore) -> PurgeReport:
        """Count all objects. Raises StoreUnavailable."""
        objects, size = count_objects(store)
        return PurgeReport(store.location, objects, size)

    def require_removed(self, location: str) -> None:
        """Check that no instance can write to the store of a location.

        Raises:
            StoreInUse: the location was not removed, or an instance has it in its bundle.
        """
        if location in self._table.states():
            raise StoreInUse(
                f"'{location}' is still a location of the registry; first: atoll remove-location"
                f" {location}"
            )
        using = [f"{one.role} on {one.hostname}" for one in self._instances.using(location)]
        if location in self._stores or using:
            raise StoreInUse(
                f"'{location}' is still in the bundle of {', '.join(using) or 'this site'}, which"
                " would use it again: remove its entry from DISTRIBUTED_STORAGE_CONFIG at every"
                " site first. Instances that were killed count as running for a minute and a half"
            )

    def delete(self, store: ObjectStore, limit: int | None = None) -> Iterator[PurgeReport]:
        """Delete all objects and unfinished uploads; yield the progress after each batch.

        Args:
            limit: objects to delete at most; unfinished uploads are aborted only at the end.

        Yields:
            The same report, updated, at least once.

        Raises:
            StoreInUse: the location may still be written to. Nothing was deleted.
            StoreUnavailable: the deletion can be repeated.
        """
        self.require_removed(store.location)
        report = PurgeReport(store.location, deleted=True, complete=False)
        for batch in delete_objects(store, limit):
            report.objects += len(batch)
            report.bytes += sum(stored.size for stored in batch)
            yield report
        report.complete = limit is None or report.objects < limit
        if report.complete:
            report.uploads = abort_all_uploads(store)
        yield report
