"""The stores of a bundle with their health and state."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from atoll.config import Bundle
from atoll.periodic import ThreadRegistry
from atoll.storage.base import ObjectStore
from atoll.storage.drivers import make_store
from atoll.storage.health import StoreHealth
from atoll.storage.links import Links
from atoll.storage.prober import Prober
from atoll.storage.selection import StoreSelection
from atoll.storage.states import LocationStates


@dataclass(frozen=True)
class Locations:
    """The locations of the bundle from the point of view of one site."""

    stores: dict[str, ObjectStore]
    health: StoreHealth
    states: LocationStates
    selection: StoreSelection
    preference: list[str]
    required: list[str]

    @classmethod
    def from_bundle(cls, bundle: Bundle, ca_bundle: str | None) -> Locations:
        """Create the stores of DISTRIBUTED_STORAGE_CONFIG, without making a request.

        Args:
            bundle: the configuration.
            ca_bundle: a file of CA certificates, None for the default ones.
        """
        names = list(bundle.stores)
        health = StoreHealth(names)
        stores: dict[str, ObjectStore] = {
            name: make_store(name, settings, ca_bundle=ca_bundle, observe=health.observe)
            for name, settings in bundle.stores.items()
        }
        states = LocationStates()
        selection = StoreSelection(bundle.preference, names, health, states)
        return cls(stores, health, states, selection, bundle.preference, bundle.required_locations)

    @cached_property
    def links(self) -> Links:
        """Presigned URLs of objects."""
        return Links(self.stores, self.health, self.states)

    def start_probing(self, registry: ThreadRegistry) -> Prober:
        """Probe every store in the background."""
        prober = Prober(self.stores, self.health)
        prober.start(registry)
        return prober
