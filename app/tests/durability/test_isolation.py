"""Transactions are correct regardless of the server's default isolation level."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from atoll.config import check
from atoll.placement.locks import LOCK_DIGEST
from atoll.registry.errors import ManifestBlobUnknown

from ..integration.services import wait_until
from .databases import administer
from .sites import MANIFEST_TYPE, MemoryRegistry, bundle, image_manifest, make_registry

_LEVEL = "default_transaction_isolation"
_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'advisory'
"""
# The statements of the collector under the lock.
_COLLECT = f"""
{LOCK_DIGEST}
DELETE FROM replicationtask; DELETE FROM imagestorageplacement
"""


@pytest.fixture
def strict(make_database: Callable[[], str], tmp_path: Path) -> MemoryRegistry:
    """A registry on a database whose default isolation level is repeatable read."""
    uri = make_database()
    name = uri.rpartition("/")[2]
    administer(uri, f"ALTER DATABASE {name} SET {_LEVEL} = 'repeatable read'")
    return make_registry(uri, tmp_path, ["us"])


def test_a_manifest_is_refused_while_its_blob_is_being_deleted(strict: MemoryRegistry) -> None:
    site = strict["us"]
    config = b"{}"
    digest = site.push(config)
    content = image_manifest(config, [])
    manifests = site.graph.dependencies().manifests
    outcome: list[object] = []

    def push_manifest() -> None:
        try:
            outcome.append(
                manifests.put(
                    site.repository, "latest", content, MANIFEST_TYPE, tags=[], username="admin"
                )
            )
        except ManifestBlobUnknown as error:
            outcome.append(error)

    pusher = threading.Thread(target=push_manifest)
    with site.database.transaction() as cursor:
        cursor.execute(_COLLECT, {"digest": str(digest)})
        pusher.start()
        wait_until(
            "the push waits for the lock on the digest",
            lambda: site.database.read(_WAITING)[0][0] == 1,
        )
    pusher.join()
    assert [type(one) for one in outcome] == [ManifestBlobUnknown]


@pytest.mark.parametrize(
    "changes",
    [
        {"DB_CONNECTION_ARGS": {"options": rf"-c {_LEVEL}=repeatable\ read"}},
        {"DB_CONNECTION_ARGS": {"options": f"-c jit=off -c{_LEVEL}=serializable"}},
        {"DB_URI": f"postgresql://atoll@db.test/atoll?options=--{_LEVEL}%3Dserializable"},
        {
            "DB_READ_REPLICAS": [
                {
                    "DB_URI": "postgresql://atoll@db.test/atoll",
                    "DB_CONNECTION_ARGS": {"options": f"--{_LEVEL}=serializable"},
                }
            ]
        },
    ],
)
def test_a_bundle_that_chooses_another_isolation_level_is_refused(
    changes: dict[str, object],
) -> None:
    values = bundle("postgresql://atoll@db.test/atoll", ["us"]) | changes
    assert [problem for problem in check(values).problems if _LEVEL in problem]


def test_a_bundle_that_chooses_the_required_isolation_level_is_accepted() -> None:
    options = {"DB_CONNECTION_ARGS": {"options": rf"-c {_LEVEL}=read\ committed"}}
    values = bundle("postgresql://atoll@db.test/atoll", ["us"]) | options
    assert check(values).problems == []
