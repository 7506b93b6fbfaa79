"""The scrub has bounded cost, ignores implausible damage, and keeps its position."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from atoll.names import Digest
from atoll.periodic import ThreadRegistry
from atoll.placement.checks import repair as healing
from atoll.placement.checks import scrub
from atoll.placement.checks.plausibility import RecentReads
from atoll.placement.checks.scrub import Scrubber
from atoll.placement.checks.verify import (
    Count,
    PlacementCheck,
    Scope,
    Verifier,
    begin,
    forget_old_runs,
    record,
)
from atoll.rate_limit import RateLimiter
from atoll.storage.base import blob_key
from atoll.storage.errors import ObjectMissing

from ..caches import RecordingCache
from .sites import MemoryRegistry, MemorySite

MONTH = 28 * 86400


@dataclass
class Clock:
    """A monotonic clock that only tests advance, with the recent reads of one process."""

    now: float = 1000.0
    recent: RecentReads = field(init=False)

    def __post_init__(self) -> None:
        self.recent = RecentReads(monotonic=self)

    def __call__(self) -> float:
        return self.now


def make_scrubber(site: MemorySite, clock: Clock) -> Scrubber:
    locations = site.locations
    verifier = Verifier(site.database, locations.stores, locations.health, RateLimiter(None))
    return Scrubber(
        site.database,
        verifier,
        locations.preference[0],
        age=MONTH,
        recent=clock.recent,
        cache=RecordingCache(),
        monotonic=clock,
    )


def push_old(site: MemorySite, count: int) -> list[Digest]:
    """Push `count` blobs whose last verification is overdue."""
    digests = [site.push(f"blob {number}".encode()) for number in range(count)]
    make_old(site)
    return digests


def make_old(site: MemorySite) -> None:
    site.database.run(
        "UPDATE imagestorageplacement SET verified_at = now() - interval '29 days'"
        " + id * interval '1 ms'"
    )


def pass_an_hour(site: MemorySite, clock: Clock) -> None:
    """Advance all clocks of the scrub by more than an hour, so that another pass may start."""
    clock.now += 3601
    site.database.run("UPDATE scrubpass SET started_at = started_at - interval '3601 seconds'")


def scrub_for_an_hour(site: MemorySite, scrubber: Scrubber, clock: Clock) -> None:
    """Repeat steps as the worker does: without a pause while there is work, or else after one."""
    for _ in range(40):
        scrub_until_idle(scrubber)
        clock.now += 90
    site.database.run("UPDATE scrubpass SET started_at = started_at - interval '3601 seconds'")


def scrub_until_idle(scrubber: Scrubber) -> int:
    """Repeat steps while there is work, and return their number."""
    for steps in range(100):
        if not scrubber.step():
            return steps
    raise AssertionError("the scrub never pauses")


def states(site: MemorySite, location: str = "us") -> Counter[str]:
    rows = site.database.read(
        "SELECT p.state FROM imagestorageplacement p"
        " JOIN imagestoragelocation l ON l.id = p.location_id WHERE l.name = %s",
        [location],
    )
    return Counter(row[0] for row in rows)


def verified(site: MemorySite) -> int:
    """Return the number of copies that were verified since `make_old`."""
    return int(
        site.database.read(
            "SELECT count(*) FROM imagestorageplacement"
            " WHERE verified_at > now() - interval '1 day'"
        )[0][0]
    )


def recorded(site: MemorySite) -> tuple[int, int]:
    """Return the numbers of recorded runs and findings."""
    return tuple(
        site.database.read(
            "SELECT (SELECT count(*) FROM verification), (SELECT count(*) FROM verificationfinding)"
        )[0]
    )


def lose(site: MemorySite, *digests: Digest) -> None:
    for digest in digests:
        del site.stores["us"].objects[blob_key(digest)]


def repeat_with_pauses(
    scrubber: Scrubber, clock: Clock, pauses: int, steps_maximum: int
) -> tuple[int, list[float]]:
    """Run the real background loop for `pauses` pauses; return steps and seconds of each pause.

    A loop without pauses stops after `steps_maximum`; its thread ends with the process.
    """
    taken = itertools.count(1)
    steps, waited, ended = 0, [], threading.Event()

    def work() -> object:
        nonlocal steps
        if next(taken) > steps_maximum:
            end()
        steps += 1
        return scrubber.step()

    def pause(seconds: float) -> None:
        waited.append(seconds)
        clock.now += seconds
        if len(waited) == pauses:
            end()

    def end() -> None:
        ended.set()
        threading.Event().wait()

    ThreadRegistry().repeat("scrub", 30, work, pause=pause)
    assert ended.wait(60)
    return steps, waited


def count_statements(site: MemorySite, do: Callable[[], object]) -> int:
    """Return the number of statements that `do` sends to the database of `site`."""
    database, counted = site.database, itertools.count()
    run = database.run

    def counting(sql: str, parameters: object = None) -> list[object]:
        next(counted)
        return run(sql, parameters)

    database.run = counting  # type: ignore[method-assign, assignment]
    try:
        do()
    finally:
        database.run = run  # type: ignore[method-assign]
    return next(counted)


def test_a_lost_object_costs_a_bounded_number_of_steps_statements_and_rows(
    registry: MemoryRegistry,
) -> None:
    us, clock = registry["us"], Clock()
    lose(us, *push_old(us, 1))
    scrubber, steps = make_scrubber(us, clock), []

    def loop() -> None:
        steps.append(repeat_with_pauses(scrubber, clock, pauses=100, steps_maximum=400))

    statements = count_statements(us, loop)
    ((taken, waited),) = steps
    # One step more: the step that quarantined the copy was followed by another without a pause.
    assert (taken, waited) == (101, [30] * 100)
    assert statements < 3 * taken
    assert recorded(us) == (1, 1)
    assert us.stores["us"].requests["size"] + us.stores["us"].requests["read"] < 20
    assert states(us) == {"suspect": 1}


def test_a_wrong_bucket_pauses_the_scrub_and_leaves_no_rows(registry: MemoryRegistry) -> None:
    us, clock = registry["us"], Clock()
    lose(us, *push_old(us, 30))
    scrubber = make_scrubber(us, clock)
    taken, waited = repeat_with_pauses(scrubber, clock, pauses=100, steps_maximum=400)
    assert (taken, len(waited)) == (100, 100)
    assert recorded(us) == (0, 0)
    assert states(us) == {"good": 30}
    assert us.stores["us"].requests["size"] < 200


def test_copies_are_not_quarantined_if_the_store_answers_every_read_with_a_web_page(
    registry: MemoryRegistry,
) -> None:
    us, clock = registry["us"], Clock()
    digests = push_old(us, 40)
    objects = dict(us.stores["us"].objects)
    for digest in digests:
        us.stores["us"].objects[blob_key(digest)] = b"<html>maintenance</html>"
    scrubber = make_scrubber(us, clock)
    for _ in range(4):
        scrub_for_an_hour(us, scrubber, clock)
    assert states(us) == {"good": 40}
    assert recorded(us) == (0, 0)
    us.stores["us"].objects = objects
    for _ in range(4):
        scrub_for_an_hour(us, scrubber, clock)
    assert verified(us) == 40
    assert states(us) == {"good": 40}


def test_copies_are_not_quarantined_if_the_store_answers_half_of_the_reads_with_404(
    registry: MemoryRegistry,
) -> None:
    us, clock = registry["us"], Clock()
    push_old(us, 60)
    random = Random(1)
    broken: dict[str, bool] = {}

    def broken_backend(operation: str, key: str) -> None:
        if operation == "size":
            broken[key] = random.random() < 0.5
        if broken[key]:
            raise ObjectMissing("us", key)

    scrubber = make_scrubber(us, clock)
    us.stores["us"].fault = broken_backend
    for _ in range(3):
        scrub_for_an_hour(us, scrubber, clock)
    quarantined = "SELECT count(*) FROM verificationfinding WHERE defect <> 'sound'"
    assert us.database.read(quarantined)[0][0] <= 5
    us.stores["us"].fault = None
    for _ in range(3):
        scrub_for_an_hour(us, scrubber, clock)
    assert states(us) == {"good": 60}
    assert verified(us) == 60


def test_a_copy_is_quarantined_only_after_a_second_read_a_minute_later(
    registry: MemoryRegistry,
) -> None:
    us, clock = registry["us"], Clock()
    digests = push_old(us, 3)
    lose(us, digests[0])
    scrubber = make_scrubber(us, clock)
    before = healing.WRONG.labels("us")._value.get()
    assert scrubber.step()
    assert not scrubber.step()
    clock.now += 59
    assert not scrubber.step()
    assert states(us) == {"good": 3}
    clock.now += 1
    assert scrubber.step()
    assert us.placements(digests[0]) == {"us": "suspect"}
    assert states(us) == {"suspect": 1, "good": 2}
    # Further reads for hours do not count it again.
    for _ in range(3):
        scrub_for_an_hour(us, scrubber, clock)
    assert healing.WRONG.labels("us")._value.get() == before + 1
    assert recorded(us) == (1, 1)


def test_a_copy_with_the_right_bytes_at_the_second_read_stays_good(
    registry: MemoryRegistry,
) -> None:
    us, clock = registry["us"], Clock()
    (digest,) = push_old(us, 1)
    us.stores["us"].wrong_bytes[blob_key(digest)] = b"blob X"
    scrubber = make_scrubber(us, clock)
    assert not scrubber.step()
    us.stores["us"].wrong_bytes.clear()
    clock.now += 60
    assert scrubber.step()
    assert us.placements(digest) == {"us": "good"}
    assert verified(us) == 1


def test_a_restart_between_the_reads_starts_with_a_first_read(registry: MemoryRegistry) -> None:
    us, clock = registry["us"], Clock()
    lose(us, *push_old(us, 1))
    assert not make_scrubber(us, clock).step()
    clock = Clock()
    scrubber = make_scrubber(us, clock)
    clock.now += 61
    assert not scrubber.step()
    pass_an_hour(us, clock)
    assert not scrubber.step()
    assert not scrubber.step()
    assert states(us) == {"good": 1}
    clock.now += 60
    assert scrubber.step()
    assert states(us) == {"suspect": 1}


def test_unrecoverable_copies_do_not_delay_the_others(registry: MemoryRegistry) -> None:
    us, clock = registry["us"], Clock()
    digests = push_old(us, 130)
    lose(us, *digests[:100])
    us.database.run(
        "UPDATE imagestorageplacement SET state = 'suspect' WHERE storage_id IN"
        " (SELECT id FROM imagestorage ORDER BY id LIMIT 100)"
    )
    scrubber = make_scrubber(us, clock)
    assert scrub_until_idle(scrubber) <= 4
    assert verified(us) == 30
    assert recorded(us) == (0, 0)


def test_a_thousand_lost_copies_not_in_quarantine_do_not_delay_the_others(
    registry: MemoryRegistry,
) -> None:
    us, clock = registry["us"], Clock()
    digests = push_old(us, 30)
    us.database.run(
        """
        WITH blob AS (
            INSERT INTO imagestorage (content_checksum, image_size)
            SELECT 'sha256:' || lpad(to_hex(n), 64, '0'), 1 FROM generate_series(1, 1000) n
            RETURNING id)
        INSERT INTO imagestorageplacement (storage_id, location_id, verified_at)
        SELECT blob.id, l.id, now() - interval '1 year' FROM blob, imagestoragelocation l
        WHERE l.name = 'us'
        """
    )
    scrubber = make_scrubber(us, clock)
    hours = 0
    while verified(us) < len(digests):
        # A restart does not reset the position.
        scrubber = make_scrubber(us, clock)
        scrub_for_an_hour(us, scrubber, clock)
        hours += 1
        assert hours < 10
    assert states(us)["suspect"] < 20


def test_the_position_survives_a_restart_and_is_shared_by_the_workers_of_a_site(
    registry: MemoryRegistry,
) -> None:
    us = registry["us"]
    digests = push_old(us, 60)
    us.stores["us"].unreadable = {blob_key(digest) for digest in digests}
    for expected in (20, 40, 60, 60):
        assert not make_scrubber(us, Clock()).step()
        assert us.stores["us"].requests["read"] == expected
    clock = Clock()
    pass_an_hour(us, clock)
    us.stores["us"].unreadable = set()
    scrubber = make_scrubber(us, clock)
    assert not scrubber.step()
    scrub_until_idle(scrubber)
    assert verified(us) == 60


def test_quarantined_intact_copies_are_restored_first(registry: MemoryRegistry) -> None:
    us = registry["us"]
    digests = push_old(us, 30)
    young = us.push(b"young")
    us.database.run(
        "UPDATE imagestorageplacement SET state = 'suspect' WHERE storage_id ="
        " (SELECT id FROM imagestorage WHERE content_checksum = %s)",
        [str(young)],
    )
    assert make_scrubber(us, Clock()).step()
    assert us.placements(young) == {"us": "good"}
    assert verified(us) == 20
    assert recorded(us) == (1, 1)
    assert len(digests) == 30


def test_an_unavailable_store_causes_no_statement(registry: MemoryRegistry) -> None:
    us = registry["us"]
    push_old(us, 3)
    us.stores["us"].down = True
    us.probe("us")
    scrubber = make_scrubber(us, Clock())
    assert count_statements(us, scrubber.step) == 0
    assert not scrubber.step()


def test_a_finished_pass_reads_no_newer_placements(registry: MemoryRegistry) -> None:
    us = registry["us"]
    us.database.run(
        """
        WITH blob AS (
            INSERT INTO imagestorage (content_checksum, image_size)
            SELECT 'sha256:' || lpad(to_hex(n), 64, '0'), 1 FROM generate_series(1, 2000) n
            RETURNING id)
        INSERT INTO imagestorageplacement (storage_id, location_id)
        SELECT blob.id, l.id FROM blob, imagestoragelocation l WHERE l.name = 'us';
        INSERT INTO scrubpass (location_id, state) SELECT id, 'good'
        FROM imagestoragelocation WHERE name = 'us';
        ANALYZE imagestorageplacement
        """
    )
    parameters = {"location": "us", "state": "good", "age": MONTH, "limit": 20}
    explain = f"EXPLAIN {scrub.TAKE.partition(';')[2]}"
    plan = [row[0] for row in us.database.run(explain, parameters)]
    # Start and end of the pass bound the index scan.
    (condition,) = [line for line in plan if "Index Cond" in line and "verified_at >= " in line]
    assert "verified_at < " in condition


def test_old_runs_are_deleted_in_batches(registry: MemoryRegistry) -> None:
    us = registry["us"]
    us.push(b"content")
    ((placement, verified_at),) = us.database.read(
        "SELECT id, verified_at FROM imagestorageplacement"
    )
    check = PlacementCheck(placement, "us", Digest.of(b"content"), 7, False, verified_at, "missing")
    run = begin(us.database, Scope())
    record(us.database, run, [check])
    us.database.run("UPDATE verification SET changed_at = now() - interval '31 days'")
    us.database.run(
        "INSERT INTO verification (scope, changed_at)"
        " SELECT '{}', now() - interval '32 days' FROM generate_series(1, 1500)"
    )
    begin(us.database, Scope())
    assert recorded(us) == (1502, 1)
    assert forget_old_runs(us.database)
    assert recorded(us) == (502, 1)
    while forget_old_runs(us.database):
        continue
    assert recorded(us) == (1, 0)


def test_many_corrupt_objects_are_as_implausible_as_missing_ones() -> None:
    counts = {
        "pages": Count(wrong_size=30, verified=5),
        "lost": Count(missing=30, verified=5),
        "damaged": Count(wrong_digest=30, verified=40),
        "few": Count(wrong_size=5),
    }
    assert healing.implausible(counts) == ["pages", "lost"]
