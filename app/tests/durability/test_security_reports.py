"""The last report of each image is kept for 30 days."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from atoll.scanning.stored_reports import StoredReports

from .security_scans import INDEXER, LATER_INDEXER, one_site, push_image
from .sites import MemorySite

HOUR = 3600


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    return one_site(make_database, tmp_path)


def test_the_last_report_is_returned_with_its_age(site: MemorySite) -> None:
    digest = str(push_image(site))
    reports = StoredReports(site.database)
    assert reports.find(digest) is None
    reports.keep(digest, b"first", INDEXER)
    reports.keep(digest, b"last" * 1000, LATER_INDEXER)
    site.database.run("UPDATE manifestsecurityreport SET fetched_at = now() - interval '1 hour'")
    report = reports.find(digest)
    assert report is not None
    assert (report.content, report.indexer_state) == (b"last" * 1000, LATER_INDEXER)
    assert HOUR <= report.age_seconds < 2 * HOUR
    size = site.database.read("SELECT octet_length(report) FROM manifestsecurityreport")
    assert size[0][0] < 100


def test_a_recent_report_of_the_same_indexer_is_not_replaced(site: MemorySite) -> None:
    digest = str(push_image(site))
    reports = StoredReports(site.database)
    found = []
    for content, state in ((b"1", INDEXER), (b"2", INDEXER), (b"3", LATER_INDEXER)):
        reports.keep(digest, content, state, renewed_after=HOUR)
        found.append(content_of(reports, digest))
    site.database.run("UPDATE manifestsecurityreport SET fetched_at = now() - interval '2 hours'")
    reports.keep(digest, b"4", LATER_INDEXER, renewed_after=HOUR)
    assert [*found, content_of(reports, digest)] == [b"1", b"1", b"3", b"4"]


def content_of(reports: StoredReports, digest: str) -> bytes:
    report = reports.find(digest)
    assert report is not None
    return report.content


def test_the_report_of_an_image_without_a_scan_is_not_kept(site: MemorySite) -> None:
    reports = StoredReports(site.database)
    reports.keep("sha256:gone", b"{}", INDEXER)
    assert reports.find("sha256:gone") is None


def test_reports_are_deleted_after_thirty_days(site: MemorySite) -> None:
    reports = StoredReports(site.database, batch=2)
    digests = [str(push_image(site, number)) for number in range(4)]
    for digest in digests:
        reports.keep(digest, b"{}", INDEXER)
    site.database.run(
        "UPDATE manifestsecurityreport SET fetched_at = now() - interval '31 days'"
        " WHERE scan_id <> (SELECT id FROM securityscan WHERE digest = %s)",
        [digests[0]],
    )
    assert reports.find(digests[1]) is None
    assert reports.prune() == 3
    assert reports.find(digests[0]) is not None
