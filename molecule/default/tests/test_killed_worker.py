"""A copy is completed even if the replication worker is killed in the middle of it."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients import Clients
from commands import wait_until
from definition import Lab
from site_machine import SiteMachine
from stored import StoredBlobs

_SIZE = 64 * 1024 * 1024

_PLACED = """
    SELECT location.name FROM imagestorageplacement placement
    JOIN imagestorage blob ON blob.id = placement.storage_id
    JOIN imagestoragelocation location ON location.id = placement.location_id
    WHERE blob.content_checksum = %s
"""
_CLAIMED = """
    SELECT count(*) FROM replicationtask task
    JOIN imagestorage blob ON blob.id = task.storage_id
    WHERE blob.content_checksum = %s AND task.lease_token IS NOT NULL
"""


# The link from the source store to the site is slow, so that copying takes long.
@pytest.fixture
def slow_link(lab: Lab, us: SiteMachine, eu: SiteMachine) -> Iterator[None]:
    store = next(store for store in lab.stores if store.location == us.location)
    rules = f"""
        table inet test {{
            chain forward {{
                type filter hook forward priority 0;
                ip saddr {store.address} limit rate over 1 mbytes/second burst 1 mbytes drop
            }}
        }}
    """
    eu.run("nft --file -", given=rules)
    yield
    eu.attempt("nft delete table inet test")


@pytest.mark.usefixtures("slow_link")
def test_a_copy_is_restarted_after_the_worker_was_killed(
    lab: Lab, clients: Clients, eu: SiteMachine, database: Any
) -> None:
    digest = _push_one_blob(clients)
    wait_until("the worker copies the blob", lambda: _query(database, _CLAIMED, digest) == [(1,)])

    eu.run("podman kill --signal KILL atoll-replication")

    assert eu.location not in _placements(database, digest)
    eu.run("nft delete table inet test")
    wait_until("the blob is placed", lambda: eu.location in _placements(database, digest))
    content = StoredBlobs(lab, eu.location).read(digest)
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest


def _push_one_blob(clients: Clients) -> str:
    file = Path(clients.folder / "large")
    content = os.urandom(_SIZE)
    file.write_bytes(content)
    clients.oras("push", f"{clients.registry}/admin/large:1", file.name)
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _query(database: Any, statement: str, digest: str) -> list[Any]:
    with database.cursor() as cursor:
        cursor.execute(statement, (digest,))
        return list(cursor.fetchall())


def _placements(database: Any, digest: str) -> set[str]:
    return {name for (name,) in _query(database, _PLACED, digest)}
