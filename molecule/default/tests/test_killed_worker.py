"""A replication worker that is killed in the middle of a copy loses nothing and claims nothing."""

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


# The link between the store that has the blob and the site that wants it is slow.
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
def test_a_copy_that_was_killed_is_done_anew(
    lab: Lab, clients: Clients, eu: SiteMachine, database: Any
) -> None:
    digest = _push_one_blob(clients)
    wait_until("the copy is under way", lambda: _ask(database, _CLAIMED, digest) == [(1,)])

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


def _ask(database: Any, question: str, digest: str) -> list[Any]:
    with database.cursor() as cursor:
        cursor.execute(question, (digest,))
        return list(cursor.fetchall())


def _placements(database: Any, digest: str) -> set[str]:
    return {name for (name,) in _ask(database, _PLACED, digest)}
