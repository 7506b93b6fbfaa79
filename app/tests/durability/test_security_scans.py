"""The queue of images to scan: claims and outcomes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pytest
from atoll.db.leased_queue import LeaseLost
from atoll.names import RepositoryName
from atoll.scanning.scan_states import ScanState, word_of
from atoll.scanning.scans import ScanClaim, Scans

from .query_costs import examined
from .recording import RecordingDatabase
from .security_scans import (
    INDEXER,
    LATER_INDEXER,
    claim_one,
    insert_many,
    let_pass,
    one_site,
    push_image,
    row_of,
    scans_of,
    statuses,
)
from .sites import SUPERUSER, MemorySite
from .test_periodic_plans import nodes

HOUR = 3600


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    return one_site(make_database, tmp_path)


@pytest.fixture
def scans(site: MemorySite) -> Scans:
    return scans_of(site)


def scan_first(scans: Scans) -> ScanClaim:
    claim = claim_one(scans)
    scans.scanned(claim, INDEXER, {"High": 2})
    return claim


def test_a_claim_has_what_a_scan_needs(site: MemorySite, scans: Scans) -> None:
    digest = push_image(site)
    claim = claim_one(scans)
    assert (claim.digest, claim.attempts, claim.is_rescan) == (digest, 1, False)
    assert digest == type(digest).of(claim.content)
    assert (claim.repository, claim.repository.id) == (RepositoryName(SUPERUSER, "app"), 1)
    assert scans.claim(9, INDEXER) == []
    assert statuses(site) == [ScanState.IN_PROGRESS]


def test_a_scanned_image_is_not_claimed_again(site: MemorySite, scans: Scans) -> None:
    digest = push_image(site)
    scan_first(scans)
    let_pass(site, HOUR)
    assert scans.claim(9, INDEXER) == []
    assert row_of(site, digest, "index_status, indexer_hash, severity_counts") == [
        ScanState.COMPLETED,
        INDEXER,
        {"High": 2},
    ]


def test_a_failed_scan_is_repeated_until_its_retries_are_exhausted(
    site: MemorySite, scans: Scans
) -> None:
    digest = push_image(site)
    found = []
    for _ in range(3):
        claim = claim_one(scans)
        scans.retry(claim, "bad layer\0", INDEXER)
        assert scans.claim(9, INDEXER) == []
        found += row_of(site, digest)
        let_pass(site, HOUR)
    assert found == [ScanState.FAILED, ScanState.FAILED, ScanState.RETRIES_EXHAUSTED]
    assert scans.claim(9, INDEXER) == []
    assert row_of(site, digest, "last_error") == ["bad layer"]


def test_another_state_of_the_indexer_permits_further_retries(
    site: MemorySite, scans: Scans
) -> None:
    digest = push_image(site)
    for _ in range(3):
        scans.retry(claim_one(scans), "bad layer", INDEXER)
        let_pass(site, HOUR)
    scans.retry(claim_one(scans, LATER_INDEXER), "bad layer", LATER_INDEXER)
    assert row_of(site, digest, "index_status, failures") == [ScanState.FAILED, 1]


def test_an_unavailable_scanner_changes_no_state(site: MemorySite, scans: Scans) -> None:
    digest = push_image(site)
    before = row_of(site, digest, "index_status, attempts, failures, last_indexed, available_at")
    for _ in range(20):
        scans.postpone([claim_one(scans)])
    after = row_of(site, digest, "index_status, attempts, failures, last_indexed, available_at")
    assert after == before


def test_an_image_whose_layers_cannot_be_read_waits_without_a_failure(
    site: MemorySite, scans: Scans
) -> None:
    digest = push_image(site)
    scans.defer(claim_one(scans), "store unavailable", 30)
    assert scans.claim(9, INDEXER) == []
    assert row_of(site, digest, "index_status, attempts, failures, last_error") == [
        ScanState.PENDING,
        0,
        0,
        "store unavailable",
    ]
    let_pass(site, 31)
    assert claim_one(scans).digest == digest


def test_unsupported_and_too_large_images_are_final(site: MemorySite, scans: Scans) -> None:
    digests = [push_image(site, number) for number in range(2)]
    by_digest = {claim.digest: claim for claim in scans.claim(2)}
    scans.unsupported(by_digest[digests[0]], "index")
    scans.too_large(by_digest[digests[1]], "3 GiB")
    let_pass(site, HOUR)
    assert scans.claim(9, LATER_INDEXER) == []
    assert [word_of(row_of(site, one)[0]) for one in digests] == [
        "unsupported",
        "manifest_layer_too_large",
    ]


def test_images_are_indexed_again_when_the_indexer_changes_the_oldest_first(
    site: MemorySite, scans: Scans
) -> None:
    digests = [push_image(site, number) for number in range(3)]
    claims = {claim.digest: claim for claim in scans.claim(3)}
    for number in (1, 2, 0):
        scans.scanned(claims[digests[number]], f"state-{number}", {})
    found = [claim_one_of(scans).digest for _ in range(3)]
    assert found == [digests[number] for number in (1, 2, 0)]
    assert scans.claim(9, LATER_INDEXER) == []


def claim_one_of(scans: Scans) -> ScanClaim:
    (claim,) = scans.claim(1, LATER_INDEXER)
    assert claim.is_rescan
    return claim


def test_no_image_is_indexed_again_faster_than_the_threshold(site: MemorySite) -> None:
    scans = scans_of(site, reindex_seconds=300)
    push_image(site)
    scan_first(scans)
    let_pass(site, 299 - 10)
    assert scans.claim(9, LATER_INDEXER) == []
    let_pass(site, 20)
    # A failed repetition waits for as long.
    scans.retry(claim_one(scans, LATER_INDEXER), "bad layer", LATER_INDEXER, delay=1)
    let_pass(site, 280)
    assert scans.claim(9, LATER_INDEXER) == []
    let_pass(site, 30)
    assert claim_one(scans, LATER_INDEXER).is_rescan


def test_a_scanned_image_stays_scanned_when_its_repetition_fails(
    site: MemorySite, scans: Scans
) -> None:
    digest = push_image(site)
    scan_first(scans)
    for _ in range(3):
        scans.retry(claim_one(scans, LATER_INDEXER), "bad layer", LATER_INDEXER)
        let_pass(site, HOUR)
    assert scans.claim(9, LATER_INDEXER) == []
    assert row_of(site, digest, "index_status, indexer_hash, severity_counts") == [
        ScanState.COMPLETED,
        INDEXER,
        {"High": 2},
    ]
    assert claim_one(scans, "state-three").is_rescan


def test_pushed_images_are_claimed_before_existing_ones(site: MemorySite, scans: Scans) -> None:
    existing, pushed = push_image(site, 0), push_image(site, 1)
    site.database.run(
        "UPDATE securityscan SET is_backfill = true WHERE digest = %s", [str(existing)]
    )
    assert [claim.digest for claim in scans.claim(1) + scans.claim(1)] == [pushed, existing]


def test_an_image_with_missing_blobs_is_deferred(site: MemorySite, scans: Scans) -> None:
    digest = push_image(site)
    placements = "UPDATE imagestorageplacement SET state = %s"
    site.database.run(placements, ["suspect"])
    assert scans.claim(9, INDEXER) == []
    assert row_of(site, digest, "index_status, attempts, available_at > now()") == [0, 0, True]
    site.database.run(placements, ["good"])
    let_pass(site, 61)
    assert claim_one(scans).digest == digest


def test_incomplete_images_do_not_hide_others(site: MemorySite, scans: Scans) -> None:
    for number in range(5):
        push_image(site, number)
    site.database.run("UPDATE manifest SET deleted_at = now()")
    digest = push_image(site, 6)
    assert [claim.digest for claim in scans.claim(1)] == [digest]


def test_nothing_is_written_after_the_lease_is_lost(site: MemorySite, scans: Scans) -> None:
    push_image(site)
    late = claim_one(scans)
    let_pass(site, 61)
    holder = claim_one(scans)
    assert scans.renew([late, holder]) == {holder.lease_token}
    writes: list[Callable[[], None]] = [
        lambda: scans.scanned(late, INDEXER, {}),
        lambda: scans.retry(late, "late", INDEXER),
        lambda: scans.defer(late, "late", 1),
        lambda: scans.unsupported(late, "late"),
        lambda: scans.too_large(late, "late"),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    scans.postpone([late])
    scans.scanned(holder, INDEXER, {})


def test_concurrent_claims_never_overlap(site: MemorySite, scans: Scans) -> None:
    digests = {push_image(site, number) for number in range(12)}
    with ThreadPoolExecutor(4) as executor:
        found = list(chain(*executor.map(lambda _: scans.claim(2, INDEXER), range(12))))
    assert len(found) == len({claim.digest for claim in found})
    found += scans.claim(12, INDEXER)
    assert {claim.digest for claim in found} == digests


def test_a_request_scans_an_image_again(site: MemorySite, scans: Scans) -> None:
    digest = push_image(site)
    for _ in range(3):
        scans.retry(claim_one(scans), "bad layer", INDEXER)
        let_pass(site, HOUR)
    assert scans.request_again([str(digest), "sha256:unknown"]) == {str(digest)}
    assert claim_one(scans).failures == 0
    assert scans.request_again([str(digest)]) == set()


def test_figures_count_states_and_the_age_of_the_oldest_due_image(
    site: MemorySite, scans: Scans
) -> None:
    push_image(site, 0)
    scan_first(scans)
    push_image(site, 1)
    claim_one(scans)
    assert scans.queue_figures().oldest_seconds == 0
    push_image(site, 2)
    let_pass(site, 30)
    figures = scans.queue_figures()
    assert figures.numbers[ScanState.COMPLETED] == 1
    assert figures.numbers[ScanState.PENDING] == 2
    assert figures.numbers[ScanState.IN_PROGRESS] == 1
    assert 30 <= figures.oldest_seconds < HOUR


@pytest.mark.parametrize("state", ["pending", "leased", "scanned", "outdated"])
def test_a_claim_reads_few_rows_of_a_long_queue(site: MemorySite, state: str) -> None:
    push_image(site)
    fill_queue(site, state)
    scans = scans_of(site)
    recorded: list[tuple[str, dict[str, object]]] = []

    def record(statement: str, values: dict[str, object]) -> list[object]:
        recorded.append((statement, {**values, "seconds": 60}))
        return []

    scans._queue.claim = record  # type: ignore[method-assign, assignment]
    scans.claim(4, LATER_INDEXER)
    read = [examined(site.database, statement, values) for statement, values in recorded]
    assert len(read) == 2
    # A leased image is at the head of the queue, at most as many as are scanned at once.
    assert all(number < 400 for number in read), read


def test_figures_of_a_long_queue_are_read_from_indexes(site: MemorySite) -> None:
    push_image(site)
    fill_queue(site, "pending")
    recording = RecordingDatabase.from_bundle(site.graph.bundle, size=1)
    scans_of(site, database=recording).queue_figures()
    ((statement, values),) = recording.recorded.items()
    explained = statement.replace("SELECT", "EXPLAIN (FORMAT JSON) SELECT", 1)
    plan = site.database.run(explained, values)[0][0][0]["Plan"]
    scanned = [
        node["Node Type"] for node, _ in nodes(plan) if node.get("Relation Name") == "securityscan"
    ]
    assert scanned
    assert all("Index" in kind for kind in scanned), scanned


def fill_queue(site: MemorySite, state: str) -> None:
    insert_many(
        site.database,
        "INSERT INTO securityscan (digest, is_backfill, index_status, attempted_hash,"
        " last_indexed, available_at, lease_token, lease_expires)"
        " SELECT 'sha256:' || n, n %% 2 = 0, CASE WHEN %(scanned)s THEN 2 ELSE 0 END,"
        " CASE WHEN %(scanned)s THEN %(hash)s ELSE '' END,"
        " CASE WHEN %(scanned)s THEN now() - interval '1 hour' END,"
        " CASE WHEN %(scanned)s THEN 'infinity' ELSE now() - interval '1 minute' END,"
        " CASE WHEN %(leased)s AND n <= 100 THEN gen_random_uuid() END,"
        " CASE WHEN %(leased)s AND n <= 100 THEN now() + interval '1 minute' END"
        " FROM generate_series(%(first)s, %(last)s) AS n",
        {
            "scanned": state in {"scanned", "outdated"},
            "hash": LATER_INDEXER if state == "scanned" else INDEXER,
            "leased": state == "leased",
        },
    )
    site.database.run("ANALYZE")
