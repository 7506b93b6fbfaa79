"""Sequences that lost blobs in earlier versions of the protocol, or misled its model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from .interleaving import ANY, Stop
from .protocol_machine import HOURS, Interleaved, PlacementProtocol, Suspended
from .protocol_operations import (
    Action,
    BeginChunks,
    CancelChunks,
    Collect,
    ContinueRemoval,
    DeleteObjects,
    DeleteOrphans,
    Push,
    Remove,
    RemoveLost,
    Undo,
)

Sequence = Callable[[PlacementProtocol, int], Iterator[None]]


def _removals(us: Action, eu: Action) -> Sequence:
    def sequence(machine: PlacementProtocol, stop: int) -> Iterator[None]:
        machine.begin({0, 1, 2}, copied=True, accepted=True)
        machine.carry_out(us, Interleaved(Stop(ANY, stop), eu, None))
        yield

    return sequence


def undo_beside_a_batch(machine: PlacementProtocol, stop: int) -> Iterator[None]:
    machine.begin({0, 1}, copied=False, accepted=False)
    machine.carry_out(RemoveLost("us", "us"))
    yield
    machine.carry_out(ContinueRemoval(0), Interleaved(Stop(ANY, stop), Undo("us"), None))
    yield


def orphans_of_a_removed_location(machine: PlacementProtocol, stop: int) -> Iterator[None]:
    machine.begin({0, 1}, copied=False, accepted=False)
    machine.carry_out(RemoveLost("us", "us"))
    machine.carry_out(ContinueRemoval(0))
    yield
    machine.carry_out(
        DeleteOrphans("us", "us"), Interleaved(Stop(ANY, stop), ContinueRemoval(0), None)
    )
    yield
    machine.carry_out(Undo("us"))
    yield


def failover_that_loses_a_collection(machine: PlacementProtocol, stop: int) -> Iterator[None]:
    machine.begin({0}, copied=False, accepted=False, standby=True)
    machine.pass_time(HOURS)
    yield
    machine.carry_out(
        Collect("us", "step"),
        Interleaved(Stop(ANY, stop), DeleteObjects("us", "us"), None),
    )
    machine.carry_out(DeleteObjects("us", "us"))
    yield
    machine.fail_over(1)
    yield


def cancelled_upload_of_a_collected_blob(machine: PlacementProtocol, stop: int) -> Iterator[None]:
    machine.begin({0}, copied=False, accepted=False, standby=True)
    machine.pass_time(HOURS)
    yield
    machine.carry_out(Collect("us", "step"))
    machine.carry_out(BeginChunks("us", "one", 0))
    machine.carry_out(
        CancelChunks("us", 0, False), Interleaved(Stop(ANY, stop), Collect("us", "step"), None)
    )
    yield
    machine.fail_over(1)
    yield


def late_deletion(machine: PlacementProtocol, stop: int) -> Iterator[None]:
    machine.begin({1}, copied=False, accepted=False, late=True)
    machine.carry_out(BeginChunks("us", "one", 0))
    machine.carry_out(
        CancelChunks("us", 0, False), Interleaved(Stop(ANY, stop), Push("us", "one", 0), None)
    )
    machine.carry_out(Push("us", "two", 0))
    yield
    machine.carry_out_late_deletions("us")
    yield


def suspended_deletion(machine: PlacementProtocol, stop: int) -> Iterator[None]:
    machine.begin({1}, copied=False, accepted=False)
    machine.carry_out(BeginChunks("us", "one", 0))
    machine.carry_out(CancelChunks("us", 0, False), Suspended(Stop(ANY, stop)))
    machine.carry_out(Push("us", "one", 0))
    yield
    machine.resume()
    yield


def push_beside_a_removal_as_lost(machine: PlacementProtocol, stop: int) -> Iterator[None]:
    machine.begin({0}, copied=True, accepted=False, stale=True)
    machine.carry_out(
        RemoveLost("us", "eu"), Interleaved(Stop(ANY, stop), Push("eu", "one", 2), None)
    )
    yield


def two_removals_as_lost_in_progress(machine: PlacementProtocol, stop: int) -> Iterator[None]:
    machine.begin({0, 2}, copied=True, accepted=False)
    machine.carry_out(RemoveLost("us", "eu"), Suspended(Stop(ANY, stop)))
    yield
    machine.carry_out(RemoveLost("us", "us"))
    yield
    machine.verify_convergence()
    yield


_REMOVALS = {
    "two removals": (Remove("us", "us", False), Remove("us", "eu", False)),
    "two removals without a drain": (Remove("us", "us", True), Remove("us", "eu", True)),
    "two removals as lost": (RemoveLost("us", "us"), RemoveLost("us", "eu")),
    "a removal, and one as lost": (Remove("us", "us", False), RemoveLost("us", "eu")),
}

KNOWN: dict[str, Sequence] = {
    **{name: _removals(*both) for name, both in _REMOVALS.items()},
    "an undo beside a batch": undo_beside_a_batch,
    "orphans of a removed location": orphans_of_a_removed_location,
    "a fail-over that loses a collection": failover_that_loses_a_collection,
    "a cancelled upload of a collected blob": cancelled_upload_of_a_collected_blob,
    "a push beside a removal as lost": push_beside_a_removal_as_lost,
    "two removals as lost in progress": two_removals_as_lost_in_progress,
    "a late deletion": late_deletion,
    "a suspended deletion": suspended_deletion,
}


def run_known(machine: PlacementProtocol, name: str) -> None:
    """Run a sequence for each stop of its first operation, and check the invariants."""
    for stop in itertools.count():
        for _ in KNOWN[name](machine, stop):
            machine.invariants_hold()
        machine.teardown()
        if not machine.stopped:
            return
