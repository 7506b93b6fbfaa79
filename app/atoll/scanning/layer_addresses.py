"""The addresses from which a Clair fetches the layers of an image."""

from __future__ import annotations

from collections.abc import Sequence

from atoll.auth.access import PULL, Grant
from atoll.auth.tokens import Tokens
from atoll.db.pool import Database
from atoll.names import Digest, RepositoryName
from atoll.placement.placements import GOOD_LOCATIONS
from atoll.scanning.clair.client import Layer
from atoll.scanning.errors import LayerUnavailable
from atoll.storage.base import blob_key
from atoll.storage.locations import Locations

# Seconds for which an address is valid. Clair fetches a few layers of an image at a time, so the
# last one of a large image is requested long after the first.
ADDRESS_SECONDS = 3600

_PLACEMENTS = f"""
SELECT s.content_checksum, {GOOD_LOCATIONS} FROM imagestorage s
WHERE s.content_checksum = ANY(%(digests)s)
"""


class LayerAddresses:
    """Makes addresses of layers: URLs of stores or, where stores have none, of the registry."""

    def __init__(
        self,
        database: Database,
        locations: Locations,
        tokens: Tokens,
        *,
        registry_url: str,
        proxied: bool,
    ) -> None:
        """Provide the addresses.

        Args:
            database: Where placements are stored.
            locations: The stores.
            tokens: Issues tokens for the registry's own addresses, which are valid as long.
            registry_url: The URL of the registry, such as https://registry.example.
            proxied: FEATURE_PROXY_STORAGE: clients must not connect to stores.
        """
        self._database = database
        self._locations = locations
        self._tokens = tokens
        self._registry_url = registry_url
        self._proxied = proxied

    def of(self, repository: RepositoryName, digests: Sequence[str], near: str) -> list[Layer]:
        """Return the layers of an image with their addresses.

        Args:
            repository: A repository that has the image, bound to its id.
            digests: The digests of the layers, lowest first.
            near: The location of the Clair that fetches them. The store of that location is
                preferred, and otherwise the one that this site would read from.

        Raises:
            LayerUnavailable: No available store has a layer.
            DatabaseUnavailable: The database cannot be reached.
        """
        rows = self._database.read(_PLACEMENTS, {"digests": list(set(digests))})
        placements = {str(digest): list(names) for digest, names in rows}
        return [self._layer(repository, one, placements.get(one, []), near) for one in digests]

    def _layer(
        self, repository: RepositoryName, digest: str, placements: list[str], near: str
    ) -> Layer:
        found = self._readable(digest, placements)
        location = near if near in found else found[0]
        if not self._proxied:
            store = self._locations.stores[location]
            url = store.presigned_url(blob_key(Digest.parse(digest)), ADDRESS_SECONDS)
            if url is not None:
                return Layer(digest, url)
        token, _ = self._tokens.issue(
            None, [Grant(repository, frozenset({PULL}), id=repository.id)]
        )
        url = f"{self._registry_url}/v2/{repository}/blobs/{digest}"
        return Layer(digest, url, {"Authorization": [f"Bearer {token}"]})

    def _readable(self, digest: str, placements: list[str]) -> list[str]:
        """Return the available locations of a layer, nearest first."""
        health, states = self._locations.health, self._locations.states
        others = [name for name in self._locations.stores if name not in self._locations.preference]
        found = [
            name
            for name in (*self._locations.preference, *others)
            if name in placements and health.is_up(name) and states.readable(name)
        ]
        if not found:
            raise LayerUnavailable(f"no available store has the layer {digest}")
        found.sort(key=health.sort_key)
        return found
