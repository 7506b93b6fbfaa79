"""Removals at the same time never count on each other's copies, and no blob loses its last one."""

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

from .many_blobs import blobs_without_placement, forget_everything, place_blobs
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


def plain(location: str) -> Command:
    """Remove `location`, sometimes without the drain before, as a script might."""

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


def taking_excess(database: Database) -> None:
    OverReplication(database, [], lambda _: None, links=0).step()


def at_once(commands: list[tuple[Database, Command]]) -> list[bool]:
    """Run each command in a thread, after a random delay; return which were carried out."""
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
    "two plain": (plain("us"), plain("eu")),
    "lost beside a plain one": (lost("us"), drained("eu")),
    "two lost": (lost("us"), lost("eu")),
}


def check_removals(registry: MemoryRegistry, pair: tuple[Command, Command], rounds: int) -> None:
    """Start both removals at once, so often: us and eu have all blobs, and ap lacks them."""
    us, eu = registry["us"].database, registry["eu"].database
    registry["us"].push(b"the repository exists")
    for _ in range(rounds):
        forget_everything(us, LOCATIONS)
        place_blobs(us, BLOBS, ["us", "eu"])
        carried_out = at_once([(us, pair[0]), (eu, pair[1])])
        assert sum(carried_out) <= 1
        states = LocationTable(us).states()
        assert "removed" not in states.values()
        assert len({"us", "eu"} - states.keys()) == sum(carried_out)
        assert blobs_without_placement(us) == 0


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_at_most_one_of_two_removals_at_once_is_carried_out(
    registry: MemoryRegistry, pair: tuple[Command, Command]
) -> None:
    check_removals(registry, pair, QUICK)


@pytest.mark.long
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_at_most_one_of_two_removals_at_once_is_carried_out_a_thousand_times(
    registry: MemoryRegistry, pair: tuple[Command, Command]
) -> None:
    check_removals(registry, pair, LONG)


EXCESS = {"a drained location": drained("us"), "a lost store's": lost("us")}


def check_excess(registry: MemoryRegistry, command: Command, rounds: int) -> None:
    """Remove us while copies at eu, which a policy excludes, are deleted for the copies at us."""
    us, eu = registry["us"].database, registry["eu"].database
    registry["us"].push(b"the repository exists")
    Policies(us, LOCATIONS).set(Subject.parse(f"{SUPERUSER}/app"), Policy(excluded=("eu",)))
    for _ in range(rounds):
        forget_everything(us, LOCATIONS)
        place_blobs(us, BLOBS, ["us", "eu"])
        at_once([(us, command), (eu, taking_excess)])
        assert "removed" not in LocationTable(us).states().values()
        assert blobs_without_placement(us) == 0


@pytest.mark.parametrize("command", EXCESS.values(), ids=EXCESS.keys())
def test_deleting_over_replicated_copies_beside_a_removal_leaves_a_copy_of_each_blob(
    registry: MemoryRegistry, command: Command
) -> None:
    check_excess(registry, command, QUICK)


@pytest.mark.long
@pytest.mark.parametrize("command", EXCESS.values(), ids=EXCESS.keys())
def test_deleting_over_replicated_copies_beside_a_removal_leaves_copies_a_thousand_times(
    registry: MemoryRegistry, command: Command
) -> None:
    check_excess(registry, command, LONG)


def test_two_drains_at_once_leave_a_required_location(registry: MemoryRegistry) -> None:
    us, eu = registry["us"].database, registry["eu"].database
    required = ["us", "eu"]
    for _ in range(QUICK):
        forget_everything(us, LOCATIONS)
        carried_out = at_once(
            [
                (us, lambda database: LocationTable(database).set_draining("us", required)),
                (eu, lambda database: LocationTable(database).set_draining("eu", required)),
            ]
        )
        assert sum(carried_out) == 1


def test_a_command_that_waits_for_another_removal_is_refused_after_some_seconds(
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
