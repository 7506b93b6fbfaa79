"""Images to scan, pushed to a registry of the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from atoll.db.leased_queue import Backoff
from atoll.db.pool import Database
from atoll.names import Digest, RepositoryName
from atoll.registry.manifests import Manifests
from atoll.scanning.scans import ScanClaim, Scans

from .sites import MANIFEST_TYPE, SUPERUSER, MemorySite, image_manifest, make_registry

INDEXER, LATER_INDEXER = "state-one", "state-two"
# The rows of a long queue, and how many of them one statement writes: `statement_timeout` limits
# the statement, also on a busy machine.
MANY, _RANGE = 100_000, 10_000


def scans_of(site: MemorySite, **arguments: Any) -> Scans:
    """Return the queue; images can be indexed again at once."""
    chosen: dict[str, Any] = {
        "database": site.database,
        "reindex_seconds": 0,
        "retries": 2,
        "backoff": Backoff(first=60.0, maximum=60.0),
        **arguments,
    }
    return Scans(**chosen)


def manifests_of(site: MemorySite, *, scans: bool = True) -> Manifests:
    """Return the manifests with or without FEATURE_SECURITY_SCANNER."""
    graph = site.graph
    return Manifests(
        graph.database,
        graph.reads,
        graph.redis,
        graph.repositories,
        graph.bundle.required_locations,
        sparse_indexes=False,
        scans=scans,
    )


def push_image(
    site: MemorySite, number: int = 0, repository: str = "app", *, scans: bool = True
) -> Digest:
    """Push an image with a configuration of its own and a layer, and return its digest."""
    config, layer = f"config {number}".encode(), b"layer"
    name = RepositoryName(SUPERUSER, repository)
    site.repository = name
    site.push(config)
    site.push(layer)
    return put_image(site, image_manifest(config, [layer]), name, scans=scans)


def put_image(
    site: MemorySite, content: bytes, name: RepositoryName, *, scans: bool = True
) -> Digest:
    """Push a manifest whose blobs exist under the tag `latest`."""
    pushed = manifests_of(site, scans=scans).put(
        name, "latest", content, MANIFEST_TYPE, tags=[], username=SUPERUSER
    )
    return pushed.digest


def claim_one(scans: Scans, indexer_state: str | None = INDEXER) -> ScanClaim:
    """Claim the only due image."""
    (claim,) = scans.claim(9, indexer_state)
    return claim


def row_of(site: MemorySite, digest: Digest, columns: str = "index_status") -> list[Any]:
    """Return columns of the scan of an image."""
    rows = site.database.read(
        f"SELECT {columns} FROM securityscan WHERE digest = %s", [str(digest)]
    )
    return list(rows[0])


def statuses(site: MemorySite) -> list[int]:
    """Return the states as operators of Quay query them."""
    rows = site.database.read(
        "SELECT index_status FROM manifestsecuritystatus ORDER BY manifest_id"
    )
    return [row[0] for row in rows]


def let_pass(site: MemorySite, seconds: float) -> None:
    """Have time pass for all rows of the queues."""
    for table in ("securityscan", "securityscanremoval"):
        site.database.run(
            f"UPDATE {table} SET available_at = available_at - make_interval(secs => %(seconds)s),"
            " lease_expires = lease_expires - make_interval(secs => %(seconds)s)",
            {"seconds": seconds},
        )
    site.database.run(
        "UPDATE securityscan SET last_indexed = last_indexed - make_interval(secs => %(seconds)s)",
        {"seconds": seconds},
    )


def insert_many(
    database: Database, statement: str, parameters: Mapping[str, object] | None = None
) -> None:
    """Run an INSERT for ranges of numbers, `first` to `last`, that cover the numbers up to MANY."""
    for first in range(1, MANY + 1, _RANGE):
        last = min(first + _RANGE - 1, MANY)
        database.run(statement, {**(parameters or {}), "first": first, "last": last})


def one_site(make_database: Callable[[], str], directory: Path) -> MemorySite:
    """Return the only site of a registry."""
    return make_registry(make_database(), directory, ["us"])["us"]
