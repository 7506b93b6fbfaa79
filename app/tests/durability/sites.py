"""Sites of a registry on a real database and stores in memory; no HTTP, Redis or threads."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from atoll.config import load
from atoll.db.pool import Database
from atoll.names import Digest, RepositoryName
from atoll.registry.manifests import Manifests
from atoll.registry.tag_cache import TagCache
from atoll.registry.upload_session import Body
from atoll.replication.worker import Worker
from atoll.services import Services
from atoll.storage.base import blob_key
from atoll.storage.health import StoreHealth
from atoll.storage.locations import Locations
from atoll.storage.prober import Prober
from atoll.storage.selection import StoreSelection
from atoll.storage.states import LocationStates

from .memory_store import MemoryStore

SUPERUSER = "admin"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
# Nothing listens on this port, so every site runs without a cache.
_NO_REDIS = {"host": "127.0.0.1", "port": 1}


def bundle(database_uri: str, locations: list[str]) -> dict[str, object]:
    """Return a config.yaml with `locations`, all of which are required."""
    store = {
        "hostname": "127.0.0.1",
        "is_secure": True,
        "bucket_name": "blobs",
        "access_key": "access",
        "secret_key": "secret",
    }
    return {
        "SERVER_HOSTNAME": "registry.test",
        "DB_URI": database_uri,
        "SECRET_KEY": "a secret of the tests, long enough",
        "SUPER_USERS": [SUPERUSER],
        "INITIAL_SUPERUSER_PASSWORD": "correct horse battery",
        "BUILDLOGS_REDIS": _NO_REDIS,
        "USER_EVENTS_REDIS": _NO_REDIS,
        "DISTRIBUTED_STORAGE_CONFIG": {
            name: ["RadosGWStorage", {**store, "storage_path": f"/{name}"}] for name in locations
        },
        "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": locations,
        "DISTRIBUTED_STORAGE_PREFERENCE": locations,
        "FEATURE_STORAGE_REPLICATION": True,
        "CREATE_NAMESPACE_ON_PUSH": True,
        # Retries and dates of mirrors are not reported by notifications.
        "REPO_MIRROR_INTERVAL": 1,
        "ORG_MIRROR_INTERVAL": 1,
    }


@dataclass
class MemorySite:
    """One site: its object graph, its view of the health of stores, and the shared stores."""

    graph: Services
    stores: dict[str, MemoryStore]
    repository: RepositoryName = field(default_factory=lambda: RepositoryName(SUPERUSER, "app"))

    @property
    def database(self) -> Database:
        return self.graph.database

    @property
    def locations(self) -> Locations:
        return self.graph.locations

    def push(self, content: bytes) -> Digest:
        """Push a blob in one request, and return its digest once it is acknowledged."""
        digest = Digest.of(content)
        upload = self.graph.uploads.start(self.repository, SUPERUSER)
        self.graph.uploads.finish(upload, digest, Body(io.BytesIO(content), len(content)))
        return digest

    def manifests(self, *, tag_cache: TagCache | None = None) -> Manifests:
        """Return the manifests of this site, by default without tags in memory."""
        graph = self.graph
        return Manifests(
            graph.database,
            graph.reads,
            graph.redis,
            graph.repositories,
            graph.bundle.required_locations,
            sparse_indexes=graph.bundle.feature_sparse_index,
            scans=graph.bundle.feature_security_scanner,
            tag_cache=tag_cache,
        )

    def worker(self, **arguments: Any) -> Worker:
        """Return a replication worker of this site, not started."""
        return Worker(
            self.database,
            self.locations,
            copies=1,
            cache=self.graph.placement_cache,
            **arguments,
        )

    def probe(self, location: str) -> None:
        """Update the site's health of the store of `location`, as two probes do."""
        prober = Prober(self.locations.stores, self.locations.health)
        for _ in range(2):
            prober.probe_once(self.locations.stores[location])

    def placements(self, digest: Digest) -> dict[str, str]:
        """Return the state of each placement of `digest`, by location."""
        return dict(
            self.database.read(
                "SELECT l.name, p.state FROM imagestorageplacement p"
                " JOIN imagestoragelocation l ON l.id = p.location_id"
                " JOIN imagestorage s ON s.id = p.storage_id WHERE s.content_checksum = %s",
                [str(digest)],
            )
        )

    def has_object(self, location: str, digest: Digest) -> bool:
        """Return whether the store of `location` has the right bytes for `digest`."""
        data = self.stores[location].objects.get(blob_key(digest))
        return data is not None and Digest.of(data) == digest


@dataclass
class MemoryRegistry:
    """A registry on one database: stores by location, and sites by first location."""

    uri: str
    stores: dict[str, MemoryStore]
    sites: dict[str, MemorySite]

    def __getitem__(self, location: str) -> MemorySite:
        return self.sites[location]


def make_registry(
    uri: str,
    directory: Path,
    locations: list[str],
    changes: dict[str, object] | None = None,
    connections: int = 9,
) -> MemoryRegistry:
    """Return a registry with a site for each of `locations`, on a migrated database.

    The sites share the stores; each has its own view of their health, as processes do.
    """
    (directory / "stack").mkdir(parents=True)
    # In the order of the locations, in which they are registered and listed.
    written = yaml.safe_dump(bundle(uri, locations) | (changes or {}), sort_keys=False)
    (directory / "stack" / "config.yaml").write_text(written)
    stores = {name: MemoryStore(name) for name in locations}
    sites = {}
    for home in locations:
        preference = [home, *(name for name in locations if name != home)]
        environment = {"QUAY_DISTRIBUTED_STORAGE_PREFERENCE": ",".join(preference)}
        settings = load(environment, directory / "stack")
        health, states = StoreHealth(locations), LocationStates()
        chooser = StoreSelection(preference, locations, health, states)
        graph = Services(settings, spool=directory, connections=connections)
        graph.__dict__["locations"] = Locations(
            dict(stores), health, states, chooser, preference, settings.required_locations
        )
        sites[home] = MemorySite(graph, stores)
    return MemoryRegistry(uri, stores, sites)


def image_manifest(config: bytes, layers: list[bytes]) -> bytes:
    """Return an OCI manifest of these blobs."""

    def descriptor(kind: str, content: bytes) -> dict[str, object]:
        return {"mediaType": kind, "digest": str(Digest.of(content)), "size": len(content)}

    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [
                descriptor("application/vnd.oci.image.layer.v1.tar", layer) for layer in layers
            ],
        }
    ).encode()
