"""Concurrent removals do not rely on each other's copies, and no blob loses its last copy."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from atoll.db.pool import Database
from atoll.placement.locations.errors import (
    ChangeRefused,
    LocationsBusy,
    LocationUnknown,
    LossNotAccepted,
)
from atoll.placement.locations.remove import Removal
from atoll.placement.locations.states import LocationTable
from atoll.placement.policies import Policies, Policy, Subject
from atoll.placement.upkeep.over_replication import OverReplication

from ..caches import RecordingCache
from .many_blobs import blobs_without_placement, place_blobs, reset_placements
from .sites import SUPERUSER, MemoryRegistry

LOCATIONS = ["us", "eu", "ap"]
BLOBS = 40
QUICK, LONG = 30, 1000

Command = Callable[[Database], object]


def drain(database: Database, location: str) -> None:
    LocationTable(database).set_draining(location, LOCATIONS)


def remove(database: Database, location: str, accepted_loss: int | None = None) -> None:
    for _ in Removal(LocationTable(database), batch=15).steps(
        location, accepted_loss=accepted_loss
    ):
        continue


def sometimes_drained(location: str) -> Command:
    """Return a removal that sometimes omits the drain, as a script might."""

    def command(database: Database) -> None:
        if random.random() < 0.7:
            drain(database, location)
        remove(database, location)

    return command


def drained(location: str) -> Command:
    def command(database: Database) -> None:
        drain(database, location)
        remove(database, location)

    return command


def lost(location: str) -> Command:
    return lambda database: remove(database, location, accepted_loss=0)


def remove_over_replicated(database: Database) -> None:
    OverReplication(database, [], RecordingCache(), links=0).step()


def run_concurrently(commands: list[tuple[Database, Command]]) -> list[bool]:
    """Run each command in a thread, after a random delay; return which ones succeeded."""
    start = threading.Barrier(len(commands))

    def run(database: Database, command: Command) -> bool:
        start.wait()
        time.sleep(random.choice([0, random.random() * 0.02]))
        try:
            command(database)
        except (ChangeRefused, LocationUnknown, LossNotAccepted):
            return False
        return True

    with ThreadPoolExecutor(len(commands)) as executor:
        running = [executor.submit(run, *one) for one in commands]
        return [one.result() for one in running]


PAIRS = {
    "two removals": (sometimes_drained("us"), sometimes_drained("eu")),
    "one of a lost location": (lost("us"), drained("eu")),
    "two of lost locations": (lost("us"), lost("eu")),
}


def check_removals(registry: MemoryRegistry, pair: tuple[Command, Command], rounds: int) -> None:
    """Start both removals concurrently, `rounds` times; only us and eu have the blobs."""
    us, eu = registry["us"].database, registry["eu"].database
    registry["us"].push(b"the repository exists")
    for _ in range(rounds):
        reset_placements(us, LOCATIONS)
        place_blobs(us, BLOBS, ["us", "eu"])
        carried_out = run_concurrently([(us, pair[0]), (eu, pair[1])])
        assert sum(carried_out) <= 1
        states = LocationTable(us).states()
        assert "removed" not in states.values()
        assert len({"us", "eu"} - states.keys()) == sum(carried_out)
        assert blobs_without_placement(us) == 0


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_at_most_one_of_two_concurrent_removals_succeeds(
    registry: MemoryRegistry, pair: tuple[Command, Command]
) -> None:
    check_removals(registry, pair, QUICK)


@pytest.mark.long
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_at_most_one_of_two_concurrent_removals_succeeds_in_many_rounds(
    registry: MemoryRegistry, pair: tuple[Command, Command]
) -> None:
    check_removals(registry, pair, LONG)


REMOVALS = {"drained location": drained("us"), "lost location": lost("us")}


def check_over_replication(registry: MemoryRegistry, command: Command, rounds: int) -> None:
    """Remove us while copies at eu, which a policy excludes, are deleted for the copies at us."""
    us, eu = registry["us"].database, registry["eu"].database
    registry["us"].push(b"the repository exists")
    Policies(us, LOCATIONS).set(Subject.parse(f"{SUPERUSER}/app"), Policy(excluded=("eu",)))
    for _ in range(rounds):
        reset_placements(us, LOCATIONS)
        place_blobs(us, BLOBS, ["us", "eu"])
        run_concurrently([(us, command), (eu, remove_over_replicated)])
        assert "removed" not in LocationTable(us).states().values()
        assert blobs_without_placement(us) == 0


@pytest.mark.parametrize("command", REMOVALS.values(), ids=REMOVALS.keys())
def test_removal_during_deletion_of_over_replicated_copies_keeps_a_copy_of_each_blob(
    registry: MemoryRegistry, command: Command
) -> None:
    check_over_replication(registry, command, QUICK)


@pytest.mark.long
@pytest.mark.parametrize("command", REMOVALS.values(), ids=REMOVALS.keys())
def test_removal_during_deletion_of_over_replicated_copies_keeps_copies_in_many_rounds(
    registry: MemoryRegistry, command: Command
) -> None:
    check_over_replication(registry, command, LONG)


def test_two_concurrent_drains_leave_a_required_location(registry: MemoryRegistry) -> None:
    us, eu = registry["us"].database, registry["eu"].database
    required = ["us", "eu"]
    for _ in range(QUICK):
        reset_placements(us, LOCATIONS)
        carried_out = run_concurrently(
            [
                (us, lambda database: LocationTable(database).set_draining("us", required)),
                (eu, lambda database: LocationTable(database).set_draining("eu", required)),
            ]
        )
        assert sum(carried_out) == 1


def test_a_command_that_waits_for_another_removal_is_refused_after_a_timeout(
    registry: MemoryRegistry,
) -> None:
    us, eu = registry["us"].database, registry["eu"].database
    with us.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('states of locations', 0))")
        commands: list[Command] = [
            lambda database: drain(database, "eu"),
            lambda database: LocationTable(database).set_state("eu", "read-only"),
            lambda database: Removal(LocationTable(database)).undo("eu"),
        ]
        with ThreadPoolExecutor(len(commands)) as executor:
            for refused in [executor.submit(command, eu) for command in commands]:
                with pytest.raises(LocationsBusy, match="another command is removing a location"):
                    refused.result()
    assert set(LocationTable(us).states().values()) == {"active"}
