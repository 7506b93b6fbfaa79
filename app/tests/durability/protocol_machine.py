"""A Hypothesis state machine that runs the placement protocol, sequentially and interleaved.

After every step, each acknowledged blob that is still referenced has a good placement whose object
has the right bytes, and no other good placement lacks its object.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from .interleaving import ANY, COMMIT, REQUEST, Killed, Operation, State, Stop
from .protocol_operations import (
    REFUSALS,
    Action,
    Activate,
    BeginChunks,
    CancelChunks,
    Collect,
    ContinueChunks,
    ContinueRemoval,
    Copy,
    DeleteBlob,
    DeleteLeftovers,
    DeleteManifest,
    DeleteObjects,
    DeleteOrphans,
    DeleteTag,
    Drain,
    Mount,
    Push,
    PutManifest,
    Reconcile,
    Register,
    Remove,
    RemoveLost,
    RemoveOverReplicated,
    SetPolicy,
    Undo,
    Verify,
)
from .protocol_world import DIGESTS, HOMES, LATE_MAXIMUM, Past, World, key_of

# Seconds of the virtual clock. A promoted standby lags by at most LAG_MAXIMUM; the objects of
# collected blobs are kept for longer than that.
MINUTES, HOURS, LAG_MAXIMUM = 300, 3 * 3600, 480

homes = st.sampled_from(HOMES)
repositories = st.sampled_from(["one", "one", "one", "two"])
# The first and last are drawn more often, so that operations conflict.
contents = st.sampled_from([0, 0, 0, 2, 2, 1])
numbers = st.integers(0, 1)
manifests = st.sampled_from([0, 0, 1, 2])
tags = st.sampled_from(["latest", None])

pushes = st.builds(Push, homes, repositories, contents)
begun = st.builds(BeginChunks, homes, repositories, contents)
continued = st.builds(ContinueChunks, homes, numbers, st.booleans(), st.booleans())
cancellations = st.builds(CancelChunks, homes, numbers, st.booleans())
mounts = st.builds(Mount, homes, repositories, repositories, contents)
manifest_puts = st.builds(PutManifest, homes, repositories, manifests, tags)
client_deletions = st.one_of(
    st.builds(DeleteBlob, homes, repositories, contents),
    st.builds(DeleteManifest, homes, repositories, manifests),
    st.builds(DeleteTag, homes, repositories, st.just("latest")),
)
collections = st.builds(
    Collect,
    homes,
    st.sampled_from(["step", "mark", "collect_blobs", "delete_manifests", "untagged"]),
)
object_deletions = st.builds(DeleteObjects, homes, homes)
copies = st.builds(Copy, homes)
maintenance = st.one_of(st.builds(DeleteLeftovers, homes), st.builds(Reconcile, homes))
verifications = st.builds(Verify, homes, st.booleans(), st.booleans())
orphans = st.builds(DeleteOrphans, homes, homes)
drains = st.builds(Drain, homes)
activations = st.builds(Activate, homes, st.sampled_from(["active", "read-only"]))
removals = st.builds(Remove, st.just("us"), homes, st.booleans())
losses = st.builds(RemoveLost, st.just("us"), homes)
removal_steps = st.builds(ContinueRemoval, numbers)
undone = st.builds(Undo, st.just("us"))
policies = st.builds(SetPolicy, repositories, st.sampled_from([("us",), ("eu",), ()]))
excess = st.builds(RemoveOverReplicated, homes)

operators = st.one_of(removals, removals, undone, undone, removal_steps, losses, excess, drains)
clients = st.one_of(pushes, begun, continued, cancellations, mounts, manifest_puts)
workers = st.one_of(
    collections, object_deletions, copies, verifications, maintenance, orphans, cancellations
)
anything = st.one_of(operators, clients, workers)
stops = st.one_of(
    # Before the first commit: the checks so far cannot see concurrent changes.
    st.just(Stop(COMMIT, 0)),
    st.builds(Stop, st.just(COMMIT), st.integers(1, 2)),
    st.builds(Stop, st.just(REQUEST), st.integers(0, 1)),
    st.builds(Stop, st.just(ANY), st.integers(0, 9)),
)


@dataclass(frozen=True)
class Alone:
    """Run an operation to its end."""


@dataclass(frozen=True)
class Crashing:
    """Kill the process of an operation at a stop."""

    until: Stop


@dataclass(frozen=True)
class Suspended:
    """Suspend an operation with its machine until PostgreSQL terminates its session."""

    until: Stop


@dataclass(frozen=True)
class Interleaved:
    """Stop an operation, run `other` until a stop or a lock, then finish both."""

    until: Stop
    other: Action
    other_until: Stop | None


Way = Alone | Crashing | Suspended | Interleaved


def ways(others: st.SearchStrategy[Action]) -> st.SearchStrategy[Way]:
    alone = st.just(Alone())
    interleaved = st.builds(Interleaved, stops, others, st.one_of(st.none(), st.none(), stops))
    crashing, suspended = st.builds(Crashing, stops), st.builds(Suspended, stops)
    return st.one_of(alone, alone, interleaved, interleaved, crashing, suspended)


client_ways = ways(st.one_of(clients, workers))
worker_ways = ways(anything)
operator_ways = ways(st.one_of(operators, operators, operators, workers, clients))


class PlacementProtocol(RuleBasedStateMachine):
    """Clients, workers and operators of two sites, and failures of all their dependencies."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        # Snapshots from before the last steps, the most recent one last.
        self.past: deque[Past] = deque(maxlen=4)
        self.standby = self.stale = False
        self.suspended: list[tuple[Action, Operation]] = []
        # Whether the last operation reached its stop before its end.
        self.stopped = False

    @initialize(
        pushed=st.sets(contents, min_size=1),
        copied=st.booleans(),
        accepted=st.booleans(),
        standby=st.booleans(),
        late=st.booleans(),
        stale=st.booleans(),
    )
    def begin(
        self,
        pushed: set[int],
        copied: bool,
        accepted: bool,
        standby: bool = False,
        late: bool = False,
        stale: bool = False,
    ) -> None:
        """Push blobs, and select the possible faults.

        Args:
            pushed: the initial blobs.
            copied: whether they are copied to the other site.
            accepted: whether manifests reference them.
            standby: whether the database can fail over.
            late: whether stores carry out deletions later, without a response.
            stale: whether sites notice changes of locations and stores late.
        """
        self.world.reset()
        self.standby, self.stale = standby, stale
        for content in sorted(pushed):
            self.carry_out(Push("us", "one", content))
        if copied:
            self.carry_out(Copy("eu"))
        if accepted:
            for manifest in range(3):
                self.carry_out(PutManifest("us", "one", manifest, "latest"))
        for location in HOMES:
            self.world.change_store(location, down=False, late=late)

    # Clients.

    @rule(action=pushes, way=client_ways)
    def push(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=begun, way=client_ways)
    def begin_chunks(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=continued, way=client_ways)
    def continue_chunks(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=cancellations, way=client_ways)
    def cancel(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=mounts, way=client_ways)
    def mount(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=manifest_puts, way=client_ways)
    def put_manifest_or_move_tag(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=client_deletions, way=client_ways)
    def delete_blob_manifest_or_tag(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    # Workers.

    @rule(action=copies, way=worker_ways)
    def copy(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=collections, way=worker_ways)
    def collect(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=object_deletions, way=worker_ways)
    def delete_objects(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=maintenance, way=worker_ways)
    def maintain(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule()
    def process_all_queues(self) -> None:
        for home in HOMES:
            for action in (DeleteLeftovers(home), Collect(home, "untagged"), Collect(home, "step")):
                self.carry_out(action)
            for location in HOMES:
                self.carry_out(DeleteObjects(home, location))
            self.carry_out(Copy(home))

    # Operators.

    @rule(action=verifications, way=operator_ways)
    def verify_quarantine_and_heal(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=orphans, way=operator_ways)
    def delete_orphans(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=st.one_of(drains, activations), way=operator_ways)
    def drain_or_activate(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=removals, way=operator_ways)
    def remove(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=losses, way=operator_ways)
    def remove_as_lost(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=removal_steps, way=operator_ways)
    def continue_removal(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=undone, way=operator_ways)
    def undo(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    @rule(action=st.one_of(policies, excess), way=operator_ways)
    def exclude_or_remove_over_replicated(self, action: Action, way: Way) -> None:
        self.carry_out(action, way)

    # Environment.

    @rule()
    def resume(self) -> None:
        self.end_suspended(Operation.finish)

    @rule(location=homes, mode=st.sampled_from(["late deletions", "down", "up"]))
    def change_store(self, location: str, mode: str) -> None:
        self.world.change_store(location, down=mode == "down", late=mode == "late deletions")

    @rule(location=homes)
    def carry_out_late_deletions(self, location: str) -> None:
        self.world.carry_out_deletions(location)

    @rule(
        home=homes,
        location=homes,
        what=st.sampled_from(["cut", "loses answers", "intercepted", "works"]),
    )
    def change_path(self, home: str, location: str, what: str) -> None:
        path = self.world[home].paths[location]
        path.reset()
        path.cut = what == "cut"
        # A site trusts reads of its own store, so its own path must not be intercepted.
        path.intercepted = what == "intercepted" and home != location
        path.answers_lost = 1 if what == "loses answers" else 0

    @rule(home=homes)
    def notice(self, home: str) -> None:
        """Restart the processes of a site, which registers locations, and refresh their states."""
        if len(self.world.states()) < len(HOMES):
            # A location is not registered again within the lag of a standby.
            self.past.clear()
            self.carry_out(Register(home))
        self.world[home].notice()

    @rule(location=homes, content=contents, missing=st.booleans())
    def break_object(self, location: str, content: int, missing: bool) -> None:
        """Delete or corrupt an object of which another good copy exists."""
        digest = [*DIGESTS][content]
        if self.world.good().get(digest, set()) - {location} == set():
            return
        if not self.world.right(location, digest) or self.world.states().get(location) == "removed":
            return
        self.past.clear()
        self.world.broken.add((location, digest))
        objects = self.world.stores[location].objects
        if missing:
            del objects[key_of(digest)]
        else:
            objects[key_of(digest)] = b"x" * len(DIGESTS[digest])

    @rule(seconds=st.sampled_from([HOURS, MINUTES]))
    def pass_time(self, seconds: int) -> None:
        # Processes that were suspended for longer are restarted.
        self.end_suspended(Operation.kill)
        self.world.pass_time(seconds)

    @rule(back=st.integers(0, 3))
    def fail_over(self, back: int) -> None:
        """Promote a standby that lacks the most recent steps."""
        youngest_first = [
            past
            for past in reversed(self.past)
            if self.world.model.now - past.model.now <= LAG_MAXIMUM
        ]
        if youngest_first:
            self.world.restore(youngest_first[min(back, len(youngest_first) - 1)])
            self.past.clear()

    @rule()
    def verify_convergence(self) -> None:
        """Repair all faults and run all workers; no copy is missing and nothing is left over."""
        self.end_suspended(Operation.finish)
        self.past.clear()
        self.world.repair()
        # Both locations may be in removal as lost, because a third one remains.
        undone = [Undo("us") for _ in HOMES]
        for action in (*undone, Register("us"), *(Activate(home) for home in HOMES)):
            self.run_alone(action)
        for repository in ("one", "two"):
            self.run_alone(SetPolicy(repository, ()))
        for _ in range(3):
            self.world.pass_time(LATE_MAXIMUM + 50)
            for home in HOMES:
                self.world[home].notice()
                for action in (Verify(home, False, True), Reconcile(home), Copy(home)):
                    self.run_alone(action)
        missing = self.world.missing_copies()
        assert not missing, missing
        for _ in range(3):
            self.world.pass_time(HOURS)
            self.process_all_queues()
        for home in HOMES:
            self.run_alone(DeleteOrphans(home, home))
        self.world.sessions.clear()
        leftovers = self.world.leftovers()
        assert not leftovers, leftovers

    @invariant()
    def invariants_hold(self) -> None:
        self.world.observe_removals()
        problems = self.world.problems()
        assert not problems, problems
        if self.standby:
            self.past.append(self.world.remember())

    def teardown(self) -> None:
        self.end_suspended(Operation.kill)

    # Execution of actions.

    def may(self, action: Action) -> bool:
        """Return whether `action` may run: a removal would rely on silently broken copies."""
        return action.safe_with_broken or not self.world.silently_broken()

    def carry_out(self, action: Action, way: Way = Alone()) -> None:
        if not self.stale:
            for site in self.world.sites.values():
                site.notice()
        if not self.may(action):
            return
        match way:
            case Alone():
                self.run_alone(action)
            case Crashing(until):
                operation = self.begun(action)
                operation.advance(until)
                operation.kill()
                self.settle((action, operation))
            case Suspended(until):
                self.suspend(action, until)
            case Interleaved(until, other, other_until) if self.may(other):
                one, another = self.begun(action), self.begun(other)
                self.stopped = one.advance(until) is not State.ENDED
                another.advance(other_until)
                one.advance(None)
                one.finish(another)
                self.settle((action, one), (other, another))

    def run_alone(self, action: Action) -> None:
        try:
            result = action.run(self.world)
        except REFUSALS:
            action.settled(self.world, None, done=False)
        else:
            action.settled(self.world, result, done=True)

    def suspend(self, action: Action, until: Stop) -> None:
        """Suspend `action`, at most one at a time."""
        if self.suspended:
            return
        operation = self.begun(action)
        self.stopped = operation.advance(until) is not State.ENDED
        if not self.stopped:
            self.settle((action, operation))
            return
        operation.lose_session()
        self.suspended.append((action, operation))

    def begun(self, action: Action) -> Operation:
        return Operation(lambda: action.run(self.world), self.world.observer)

    def settle(self, *pairs: tuple[Action, Operation]) -> None:
        """Update the model with concurrent actions, the successful ones first."""
        for action, operation in sorted(pairs, key=lambda pair: pair[1].error is not None):
            error = operation.error
            if error is not None and not isinstance(error, (*REFUSALS, Killed)):
                raise error
            action.settled(self.world, operation.result, done=error is None)

    def end_suspended(self, how: Callable[[Operation], Any]) -> None:
        for action, operation in self.suspended:
            how(operation)
            self.settle((action, operation))
        self.suspended.clear()
