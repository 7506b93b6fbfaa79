"""The scanner is asked to delete the reports of images that no repository has any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
from atoll.names import RepositoryName
from atoll.placement.upkeep.garbage import Collector
from atoll.scanning.backfill import ScanBackfill
from atoll.scanning.removals import Removals
from atoll.scanning.scans import ScanClaim, Scans
from atoll.scanning.stored_reports import StoredReports

from ..caches import RecordingCache
from .query_costs import examined
from .recording import RecordingDatabase
from .security_scans import (
    INDEXER,
    claim_one,
    insert_many,
    let_pass,
    one_site,
    push_image,
    put_image,
    scans_of,
    statuses,
)
from .sites import SUPERUSER, MemorySite

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


def delete_repository(site: MemorySite, name: str) -> None:
    site.database.run("DELETE FROM manifestblob; DELETE FROM uploadedblob")
    site.database.run("DELETE FROM repository WHERE name = %s", [name])


def collect(site: MemorySite) -> None:
    site.database.run("UPDATE manifest SET deleted_at = now() - interval '1 year'")
    Collector(site.database, site.graph.bundle, RecordingCache()).delete_manifests()


@pytest.mark.parametrize("how", ["collected", "repository"])
def test_the_report_of_an_image_that_is_gone_is_to_be_deleted_once(
    site: MemorySite, scans: Scans, how: str
) -> None:
    digest = push_image(site)
    scan_first(scans)
    StoredReports(site.database).keep(str(digest), b"{}", INDEXER)
    if how == "collected":
        collect(site)
    else:
        delete_repository(site, "app")
    removals = Removals(site.database)
    (claim,) = removals.claim(9)
    assert claim.digest == str(digest)
    assert removals.claim(9) == []
    removals.finish(claim)
    let_pass(site, HOUR)
    assert removals.claim(9) == []
    for table in ("securityscan", "securityscanremoval", "manifestsecurityreport"):
        assert site.database.read(f"SELECT count(*) FROM {table}") == [[0]]


def test_a_report_is_kept_as_long_as_a_repository_has_the_image(
    site: MemorySite, scans: Scans
) -> None:
    digest = push_image(site, repository="one")
    push_image(site, repository="two")
    scan_first(scans)
    removals = Removals(site.database)
    delete_repository(site, "one")
    assert removals.claim(9) == []
    assert site.database.read("SELECT count(*) FROM securityscanremoval") == [[0]]
    delete_repository(site, "two")
    assert [claim.digest for claim in removals.claim(9)] == [str(digest)]


def test_a_deletion_that_failed_is_repeated(site: MemorySite) -> None:
    push_image(site)
    delete_repository(site, "app")
    removals = Removals(site.database)
    removals.retry(removals.claim(9)[0], "no response")
    assert removals.claim(9) == []
    let_pass(site, HOUR)
    assert removals.claim(9)[0].attempts == 2


def test_an_image_is_not_scanned_while_its_report_is_being_deleted(
    site: MemorySite, scans: Scans
) -> None:
    digest = push_image(site)
    delete_repository(site, "app")
    removals = Removals(site.database)
    (removal,) = removals.claim(9)
    push_image(site)
    assert scans.claim(9, INDEXER) == []
    removals.finish(removal)
    let_pass(site, 61)
    assert claim_one(scans).digest == digest


def test_a_report_is_not_deleted_while_its_image_is_being_scanned(
    site: MemorySite, scans: Scans
) -> None:
    push_image(site)
    claim = claim_one(scans)
    delete_repository(site, "app")
    removals = Removals(site.database)
    assert removals.claim(9) == []
    scans.scanned(claim, INDEXER, {})
    let_pass(site, 61)
    assert len(removals.claim(9)) == 1


def test_a_claim_reads_few_rows_of_many_removals(site: MemorySite) -> None:
    push_image(site)
    for statement in (
        "INSERT INTO securityscan (digest, available_at)"
        " SELECT 'sha256:' || n, 'infinity' FROM generate_series(%(first)s, %(last)s) AS n",
        "INSERT INTO securityscanremoval (digest)"
        " SELECT 'sha256:' || n FROM generate_series(%(first)s, %(last)s) AS n",
    ):
        insert_many(site.database, statement)
    site.database.run("ANALYZE")
    recording = RecordingDatabase.from_bundle(site.graph.bundle, size=1)
    assert len(Removals(recording).claim(9)) == 9
    read = [
        examined(site.database, statement, cast("dict[str, object]", values))
        for statement, values in recording.recorded.items()
        if values is not None
    ]
    assert len(read) == 3
    assert all(number < 400 for number in read), read


def test_concurrent_pushes_and_deletions_forget_no_image(site: MemorySite) -> None:
    """Each manifest keeps its scan, and no scan outlives the last manifest of its digest."""
    names = [RepositoryName(SUPERUSER, name) for name in ("one", "two")]
    for name in names:
        push_image(site, repository=name.name)
    content = bytes(site.database.read("SELECT manifest_bytes FROM manifest")[0][0])
    ending = threading.Event()
    removals, backfill = Removals(site.database), ScanBackfill(site.database)

    def push_and_delete(name: RepositoryName) -> None:
        for _ in range(12):
            site.database.run(
                "DELETE FROM manifest WHERE repository_id = (SELECT id FROM repository"
                " WHERE name = %s)",
                [name.name],
            )
            put_image(site, content, name)

    def remove() -> None:
        while not ending.is_set():
            for claim in removals.claim(9):
                removals.finish(claim)
            site.database.run("UPDATE securityscanremoval SET available_at = now()")
            backfill.restart()
            backfill.step()

    with ThreadPoolExecutor(3) as executor:
        removing = executor.submit(remove)
        try:
            list(executor.map(push_and_delete, names))
        finally:
            ending.set()
        removing.result()
    assert statuses(site) == [0, 0]
    site.database.run("DELETE FROM manifest")
    let_pass(site, 61)
    while claims := removals.claim(9):
        for claim in claims:
            removals.finish(claim)
        let_pass(site, 61)
    assert site.database.read("SELECT count(*) FROM securityscan") == [[0]]


def test_a_push_during_a_removal_is_not_forgotten(site: MemorySite) -> None:
    """The push holds its scan until its commit, so that the removal leaves it alone."""
    digest = push_image(site, repository="one")
    delete_repository(site, "one")
    push_image(site, repository="two", scans=False)
    with site.database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO securityscan (digest) VALUES (%s)"
            " ON CONFLICT (digest) DO UPDATE SET digest = EXCLUDED.digest WHERE false",
            [str(digest)],
        )
        cursor.execute(
            "INSERT INTO manifestsecurityscan SELECT m.id, s.id FROM manifest m, securityscan s"
        )
        assert Removals(site.database).claim(9) == []
    let_pass(site, 61)
    assert Removals(site.database).claim(9) == []
    assert statuses(site) == [0]
