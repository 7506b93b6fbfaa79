"""Benchmark backfill planning and task claiming as the number of blobs grows.

`make benchmark` prints the figures. They depend on the machine, so compare only figures of the same
run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from atoll.db.pool import Database
from atoll.placement.locations.sole_copies import SoleCopies
from atoll.placement.policies import Policies, Policy, Subject
from atoll.placement.tasks import Tasks
from atoll.placement.upkeep.backfill import BATCH, Reconciler, Step, backfill
from atoll.placement.upkeep.lag import lag

from .site import Site

LOCATIONS = ["usstorage", "eustorage", "asiastorage"]
CLAIMS = 200
REPOSITORIES = 1000

_FILL = """
INSERT INTO imagestoragelocation (name) SELECT unnest(%(locations)s) ON CONFLICT DO NOTHING;
INSERT INTO imagestorage (content_checksum, image_size)
SELECT 'sha256:' || encode(sha256(n::text::bytea), 'hex'), 1000000
FROM generate_series(%(first)s, %(last)s) n;
INSERT INTO imagestorageplacement (storage_id, location_id)
SELECT s.id, l.id FROM imagestorage s, imagestoragelocation l
WHERE s.id BETWEEN %(first)s AND %(last)s AND l.name = ANY(%(placed)s);
INSERT INTO uploadedblob (repository_id, blob_id, expires_at)
SELECT r.id, s.id, now() + interval '1 hour'
FROM (SELECT id, row_number() OVER (ORDER BY id) AS number FROM repository) r
JOIN imagestorage s ON s.id %% %(repositories)s = r.number - 1
WHERE s.id BETWEEN %(first)s AND %(last)s;
"""
_REPOSITORIES = """
INSERT INTO "user" (username, organization) VALUES ('bench', true);
INSERT INTO repository (namespace_user_id, name, visibility)
SELECT n.id, 'repository-' || g, 'private'
FROM "user" n, generate_series(1, %(repositories)s) g WHERE n.username = 'bench';
"""


@contextmanager
def print_figure(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"  {what:<58} {time.perf_counter() - began:8.2f} s")  # noqa: T201


def insert_blobs(database: Database, first: int, last: int, placed: list[str]) -> None:
    """Insert blobs with placements at the given locations, each used by one of the repositories."""
    database.run(_REPOSITORIES, {"repositories": REPOSITORIES})
    for start in range(first, last + 1, 100_000):
        end = min(start + 99_999, last)
        parameters = {
            "locations": LOCATIONS,
            "first": start,
            "last": end,
            "placed": placed,
            "repositories": REPOSITORIES,
        }
        database.run(_FILL, parameters)
    database.run("ANALYZE")


def count_missing(steps: Iterator[Step]) -> int:
    return sum(found.blobs for step in steps for found in step.found)


@pytest.mark.parametrize("blobs", [10_000, 100_000, 1_000_000])
def test_planning_and_claiming(us: Site, blobs: int) -> None:
    database = us.services.batch_database
    print(f"\n{blobs} blobs x {len(LOCATIONS)} locations, {-(-blobs // BATCH)} statements")  # noqa: T201
    with print_figure("insert blobs, placed at two of three locations"):
        insert_blobs(database, 1, blobs, LOCATIONS[:2])
    with print_figure("backfill when no copy is missing"):
        assert not [step for step in backfill(database, LOCATIONS[:2]) if step.found]
    with print_figure("reconcile when no copy is missing"):
        assert Reconciler(database, LOCATIONS[:2]).everything() == 0
    with print_figure("count sole copies"):
        assert not SoleCopies(database).remaining(LOCATIONS[0])
    with print_figure("backfill of a location that a policy adds"):
        policy = Policy(extra=(LOCATIONS[2],))
        Policies(database, LOCATIONS[:2]).set(Subject("bench", "repository-1"), policy)
        found = count_missing(backfill(database, LOCATIONS[:2], queue=False))
    assert found == -(-blobs // REPOSITORIES)
    with print_figure("queue everything for the third location"):
        found = count_missing(backfill(database, LOCATIONS))
    assert found == blobs
    database.run("ANALYZE")
    with print_figure("measure the lag of all locations"):
        # Beyond `EXACT_MAXIMUM` lag is estimated from a sample.
        assert lag(database)[-1].pending_blobs == pytest.approx(blobs, rel=0.05)
    tasks = Tasks(database, LOCATIONS[2])
    with print_figure(f"claim and finish {CLAIMS} tasks, one after the other"):
        for _ in range(CLAIMS):
            claimed = tasks.claim(large=False, limit=1)
            assert len(tasks.finish(claimed)) == 1
