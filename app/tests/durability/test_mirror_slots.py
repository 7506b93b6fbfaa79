"""Copies share the slots of an upstream, and a slow upstream delays no other one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from atoll.auth.robot_rule import RobotRule
from atoll.mirroring.copying.copy_control import CopyControl
from atoll.mirroring.copying.image_copier import CopyOptions
from atoll.mirroring.copying.presence import Presence
from atoll.mirroring.copying.shared_buffers import SharedBuffers
from atoll.mirroring.runs.claims import observed
from atoll.mirroring.runs.planner import Planner
from atoll.names import Digest, RepositoryName
from atoll.upstream.access import Access
from atoll.upstream.client import UpstreamClient
from atoll.upstream.errors import RateLimited
from atoll.upstream.reference import UpstreamReference
from atoll.upstream.shared_budget import SharedBudgets

from ..upstream import fault_upstream as faults
from ..upstream.certificates import PrivateCa
from ..upstream.clients import USER, upstreams
from ..upstream.content import UpstreamRepository, layer
from ..upstream.fault_upstream import FaultUpstream
from .mirrored import ROBOT, make_mirror, mirrors
from .sites import SUPERUSER, MemorySite

# Slots of an upstream, and blobs of one image that are copied at once.
_SLOTS, _AT_ONCE = 4, 8
# Longer than any wait that can succeed.
_PATIENCE = 60.0


class SteppedClock:
    """A clock that stands still, and then is read at a later time."""

    def __init__(self) -> None:
        self._now = 0.0
        self.noticed = threading.Event()

    def __call__(self) -> float:
        if self._now:
            self.noticed.set()
        return self._now

    def step(self, seconds: float) -> None:
        self._now += seconds


class Copy:
    """The copy of an image in a thread."""

    def __init__(
        self, site: MemorySite, source: UpstreamClient, digest: str, name: str = "app"
    ) -> None:
        self.control = CopyControl()
        self._error: BaseException | None = None
        self._run = lambda repository: site.graph.image_copier.copy(
            source,
            repository,
            Digest.parse(digest),
            CopyOptions(referrers="none"),
            robot=ROBOT,
            control=self.control,
        )
        repository = make_mirror(site, RepositoryName(SUPERUSER, name))
        self._thread = threading.Thread(target=self._work, args=[repository])
        self._thread.start()

    def _work(self, repository: RepositoryName) -> None:
        try:
            self._run(repository)
        except BaseException as error:
            self._error = error

    def result(self) -> None:
        """Wait for the end, and raise its error."""
        self._thread.join(_PATIENCE)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error


def source_of(ca: PrivateCa, upstream: FaultUpstream, budgets: SharedBudgets) -> UpstreamClient:
    reference = UpstreamReference.parse(f"{upstream.host}/team/app")
    return upstreams(ca, make_budget=budgets.budget).client(reference, Access(USER))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_slow_blobs_that_use_all_slots_delay_the_other_blobs_of_their_image_only(
    site: MemorySite, ca: PrivateCa, upstream: FaultUpstream, there: UpstreamRepository
) -> None:
    clock = SteppedClock()
    source = source_of(ca, upstream, SharedBudgets(site.database, monotonic=clock))

    def slow() -> None:
        if upstream.count("blob") == _SLOTS:
            # Longer than a single request waits for a slot. Then the others look at the clock.
            clock.step(60)
        assert clock.noticed.wait(_PATIENCE)

    upstream.fail("blob", faults.held(slow), times=None)
    image = there.add_image(layers=[layer(number) for number in range(_AT_ONCE)])
    Copy(site, source, image).result()
    assert upstream.count("blob") == len(there.blobs) == _AT_ONCE + 1
    assert site.database.read("SELECT digest FROM manifest") == [[image]]


def test_a_plan_waits_for_slots_instead_of_failing(
    site: MemorySite, ca: PrivateCa, upstream: FaultUpstream, there: UpstreamRepository
) -> None:
    clock = SteppedClock()
    source = source_of(ca, upstream, SharedBudgets(site.database, monotonic=clock))

    def slow() -> None:
        if upstream.count("manifest", "HEAD") == _SLOTS:
            # Longer than a single request waits for a slot. Then the others look at the clock.
            clock.step(60)
        assert clock.noticed.wait(_PATIENCE)

    upstream.fail("manifest", faults.held(slow), times=None)
    for number in range(_AT_ONCE):
        there.add_image(f"v{number}")
    mirror = mirrors(site).find(make_mirror(site, RepositoryName(SUPERUSER, "app")))
    claim = observed(site.database, mirror.id)
    assert claim is not None
    planner = Planner(Presence(site.database), RobotRule())
    planned = planner.plan(claim, mirrors(site).settings(mirror), source, lambda: None)
    assert len(planned.plan.selected) == _AT_ONCE


def test_a_manifest_waits_for_the_blobs_of_another_image(
    site: MemorySite, ca: PrivateCa, upstream: FaultUpstream, there: UpstreamRepository
) -> None:
    clock = SteppedClock()
    budgets = SharedBudgets(site.database, monotonic=clock)
    source = source_of(ca, upstream, budgets)
    budget = budgets.budget(UpstreamReference.parse(f"{upstream.host}/team/app"), Access(USER))
    image = there.add_image(layers=[layer(1)])
    with ExitStack() as others:
        for _ in range(_SLOTS):
            others.enter_context(budget.request(counts=False))
        copy = Copy(site, source, image)
        clock.step(60)
        assert clock.noticed.wait(_PATIENCE)
        assert upstream.requests == []
    copy.result()


@pytest.mark.parametrize("size", [2000, 9_000_000], ids=["small", "large"])
def test_a_cancelled_copy_does_not_wait_for_slots(
    site: MemorySite,
    ca: PrivateCa,
    upstream: FaultUpstream,
    there: UpstreamRepository,
    size: int,
) -> None:
    source = source_of(ca, upstream, SharedBudgets(site.database))
    image = there.add_image(layers=[bytes([number]) * size for number in range(_AT_ONCE)])
    upstream.fail("blob", faults.stall(0), times=None)
    copy = Copy(site, source, image)
    until(lambda: upstream.count("blob") == _SLOTS)
    begun = time.monotonic()
    copy.control.stop(LookupError("cancelled"))
    with pytest.raises(LookupError):
        copy.result()
    assert time.monotonic() - begun < 5


def test_a_requested_pause_is_not_waited_for(
    site: MemorySite, ca: PrivateCa, upstream: FaultUpstream, there: UpstreamRepository
) -> None:
    source = source_of(ca, upstream, SharedBudgets(site.database))
    image = there.add_image(layers=[layer(number) for number in range(_AT_ONCE)])
    upstream.fail("blob", faults.stall(0), times=_SLOTS - 1)
    upstream.fail("blob", faults.too_many_requests("300"))
    with pytest.raises(RateLimited):
        Copy(site, source, image).result()


def test_stalled_images_of_one_upstream_do_not_delay_another_one(
    site: MemorySite, ca: PrivateCa, upstream: FaultUpstream, there: UpstreamRepository
) -> None:
    budgets = SharedBudgets(site.database)
    slow = source_of(ca, upstream, budgets)
    upstream.fail("blob", faults.stall(0), times=None)
    # More blobs than one process copies of an image, and more bytes than the buffers of one
    # upstream.
    stalled = [
        Copy(site, slow, there.add_image(layers=layers), f"slow{number}")
        for number, layers in enumerate(
            [bytes([number, seed]) * 3_000_000 for seed in range(_AT_ONCE)] for number in range(2)
        )
    ]
    until(lambda: upstream.count("blob") == _SLOTS)
    with FaultUpstream(ca.server_context()).running() as other:
        image = other.repository().add_image(layers=[bytes(6_000_000), layer(1)])
        Copy(site, source_of(ca, other, budgets), image).result()
    assert site.database.read("SELECT digest FROM manifest") == [[image]]
    for one in stalled:
        one.control.stop(LookupError("cancelled"))
        with pytest.raises(LookupError):
            one.result()


def test_a_stalled_mirror_delays_no_other_mirror_and_is_cancelled_within_seconds(
    site: MemorySite, ca: PrivateCa, upstream: FaultUpstream, there: UpstreamRepository
) -> None:
    budgets = SharedBudgets(site.database)
    upstream.fail("blob", faults.stall(0), times=None)
    stalled = RepositoryName(SUPERUSER, "stalled")
    for number in range(4):
        layers = [bytes([number, seed]) * 1000 for seed in range(_AT_ONCE)]
        there.add_image(f"v{number}", layers=layers)
    make_mirror(site, stalled, {"external_reference": f"{upstream.host}/team/app"})
    clients = upstreams(ca, make_budget=budgets.budget)
    mirroring = site.graph.mirror_workers(copies=4, upstreams=clients, watch_seconds=0.2)
    mirroring.start()
    try:
        until(lambda: upstream.count("blob") == _SLOTS)
        fast = RepositoryName(SUPERUSER, "fast")
        with FaultUpstream(ca.server_context()).running() as other:
            for number in range(3):
                other.repository().add_image(f"v{number}", layers=[layer(number)])
            make_mirror(site, fast, {"external_reference": f"{other.host}/team/app"})
            until(lambda: mirrors(site).find(fast).status == "SUCCESS")
        assert mirrors(site).find(stalled).status == "SYNCING"
        assert upstream.count("blob") == _SLOTS
        begun = time.monotonic()
        mirrors(site).request_cancel(stalled)
        until(lambda: mirrors(site).find(stalled).status == "CANCEL" and not mirroring.worker.busy)
        assert time.monotonic() - begun < 5
    finally:
        mirroring.stop()


def test_an_upstream_leaves_buffers_for_others() -> None:
    buffers = SharedBuffers(100, 10, reserve=20)
    first = [buffers.acquire("slow", 10, CopyControl()) for _ in range(8)]
    stopped = CopyControl()
    stopped.stop(LookupError("cancelled"))
    with pytest.raises(LookupError):
        buffers.acquire("slow", 10, stopped)
    with buffers.buffer("other", 20, CopyControl()) as other:
        assert len(other) == 20
    buffers.release("slow", first.pop())
    assert len(buffers.acquire("slow", 10, CopyControl())) == 10
    # Larger than the share of an upstream.
    assert len(SharedBuffers(100, 10, reserve=20).acquire("slow", 90, CopyControl())) == 90
