"""A removal can be undone without loss until it completes, even while it runs."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from atoll.db.pool import Database
from atoll.placement.locations.errors import ChangeRefused, LocationsBusy, LocationUnknown
from atoll.placement.locations.lost import Losses
from atoll.placement.locations.registration import register_locations
from atoll.placement.locations.remove import Removal
from atoll.placement.locations.states import LocationTable

from ..integration.services import wait_until
from .many_blobs import (
    blobs_without_placement,
    place_blobs,
    placed_at,
    reset_placements,
    waiting_for_locks,
)
from .sites import MemoryRegistry

LOCATIONS = ["us", "eu", "ap"]
BLOBS = 60
QUICK, LONG = 30, 1000


def prepare(registry: MemoryRegistry, at: list[str]) -> Database:
    """Return the database of a registry with BLOBS blobs at each of `at`; us drains."""
    database = registry["us"].database
    if not database.read("SELECT FROM repository"):
        registry["us"].push(b"the repository exists")
    reset_placements(database, LOCATIONS)
    place_blobs(database, BLOBS, at)
    LocationTable(database).set_draining("us", LOCATIONS)
    return database


def in_journal(database: Database) -> int:
    return int(database.read("SELECT count(*) FROM removedplacement")[0][0])


def test_an_undo_waits_for_the_batch_that_is_being_moved_and_restores_it(
    registry: MemoryRegistry,
) -> None:
    database = prepare(registry, ["us", "eu"])
    other = registry["eu"].database
    steps = Removal(LocationTable(other), batch=20).steps("us")
    for _ in range(3):
        next(steps)
    with ThreadPoolExecutor(2) as executor:
        with registry["ap"].database.transaction() as cursor:
            # The batch is in the journal, and its transaction waits before its commit.
            cursor.execute("SELECT FROM imagestorage ORDER BY id DESC LIMIT 1 FOR UPDATE")
            taking = executor.submit(next, steps)
            wait_until("the batch waits", lambda: waiting_for_locks(database) == 1)
            undoing = executor.submit(Removal(LocationTable(database)).undo, "us")
            wait_until("the undo waits", lambda: waiting_for_locks(database) == 2)
        taking.result()
        undoing.result()
    with pytest.raises(ChangeRefused, match="another command has undone the removal"):
        next(steps)
    assert placed_at(database, "us") == BLOBS
    assert LocationTable(database).states()["us"] == "draining"


def check_undo(registry: MemoryRegistry, rounds: int) -> None:
    """Undo a removal at a random time, `rounds` times."""
    other = registry["eu"].database
    for number in range(rounds):
        accepted = BLOBS if number % 2 else None
        database = prepare(registry, ["us"] if accepted else ["us", "eu"])
        start = threading.Barrier(2)

        def remove(accepted: int | None, start: threading.Barrier) -> bool:
            start.wait()
            try:
                for _ in Removal(LocationTable(other), batch=7).steps("us", accepted_loss=accepted):
                    time.sleep(random.random() * 0.002)
            except ChangeRefused:
                return False
            return True

        def undo(database: Database, start: threading.Barrier) -> bool:
            start.wait()
            time.sleep(random.random() * 0.08)
            try:
                Removal(LocationTable(database)).undo("us")
            except (LocationUnknown, LocationsBusy):
                return False
            return True

        with ThreadPoolExecutor(2) as executor:
            removing = executor.submit(remove, accepted, start)
            undoing = executor.submit(undo, database, start)
            removed, undone = removing.result(), undoing.result()
        assert removed is not undone
        assert in_journal(database) == 0
        if undone:
            assert LocationTable(database).states()["us"] == "draining"
            assert placed_at(database, "us") == BLOBS
            assert Losses(database).recorded().blobs == []
        else:
            assert "us" not in LocationTable(database).states()
        assert blobs_without_placement(database) == (accepted or 0 if removed else 0)


def test_an_undo_at_any_time_restores_all_placements_or_is_too_late(
    registry: MemoryRegistry,
) -> None:
    check_undo(registry, QUICK)


@pytest.mark.long
def test_an_undo_at_any_time_restores_all_placements_or_is_too_late_in_many_rounds(
    registry: MemoryRegistry,
) -> None:
    check_undo(registry, LONG)


def test_an_undone_removal_keeps_later_uploads(registry: MemoryRegistry) -> None:
    """The removal has marked the location, and is undone before its next step."""
    database = prepare(registry, ["us", "eu"])
    steps = Removal(LocationTable(database), batch=20).steps("us")
    next(steps)
    Removal(LocationTable(database)).undo("us")
    LocationTable(database).set_state("us", "active")
    site = registry["us"]
    site.locations.states.refresh(database)
    digest = site.push(b"pushed after the undo")
    with pytest.raises(ChangeRefused, match="which is active again"):
        next(steps)
    assert site.placements(digest) == {"us": "good"}


def test_undoing_the_removal_of_a_lost_store_restores_the_previous_state(
    registry: MemoryRegistry,
) -> None:
    database = prepare(registry, ["us"])
    LocationTable(database).set_state("us", "read-only")
    steps = Removal(LocationTable(database), batch=20).steps("us", accepted_loss=BLOBS)
    next(steps)
    next(steps)
    steps.close()
    Removal(LocationTable(database)).undo("us")
    assert LocationTable(database).states()["us"] == "read-only"
    assert placed_at(database, "us") == BLOBS


def test_an_undo_keeps_records_of_an_earlier_loss_of_the_location(
    registry: MemoryRegistry,
) -> None:
    database = prepare(registry, ["us"])
    for _ in Removal(LocationTable(database)).steps("us", accepted_loss=BLOBS):
        continue
    register_locations(database, registry["us"].locations.stores)
    LocationTable(database).set_draining("us", LOCATIONS)
    next(Removal(LocationTable(database)).steps("us"))
    Removal(LocationTable(database)).undo("us")
    assert len(Losses(database).recorded().blobs) == BLOBS
