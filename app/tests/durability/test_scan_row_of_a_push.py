"""The transaction of a push requests the scan of its image."""

from __future__ import annotations

import psycopg2
import pytest
from atoll import round_trips
from atoll.db.wake_ups import SCAN_CHANNEL
from atoll.names import RepositoryName
from atoll.registry.errors import ManifestBlobUnknown

from .security_scans import (
    INDEXER,
    claim_one,
    push_image,
    put_image,
    row_of,
    scans_of,
    statuses,
)
from .sites import SUPERUSER, MemorySite, image_manifest

ROWS = "SELECT (SELECT count(*) FROM securityscan), (SELECT count(*) FROM manifestsecurityscan)"


def test_a_push_requests_a_scan(site: MemorySite) -> None:
    digest = push_image(site)
    assert statuses(site) == [0]
    assert row_of(site, digest, "index_status, is_backfill, attempts") == [0, False, 0]


def test_a_push_without_the_feature_requests_none(site: MemorySite) -> None:
    push_image(site, scans=False)
    assert site.database.read(ROWS) == [[0, 0]]


def test_a_push_that_is_rolled_back_requests_none(site: MemorySite) -> None:
    site.push(b"config")
    with pytest.raises(ManifestBlobUnknown):
        put_image(site, image_manifest(b"config", [b"missing"]), site.repository)
    # The last statement of the transaction fails.
    site.database.run("ALTER TABLE notificationdelivery ADD CHECK (false)")
    site.database.run(
        "INSERT INTO repositorynotification (repository_id, event, method, config)"
        " SELECT id, 'repo_push', 'webhook', '' FROM repository"
    )
    site.push(b"layer")
    with pytest.raises(psycopg2.errors.CheckViolation):
        put_image(site, image_manifest(b"config", [b"layer"]), site.repository)
    assert site.database.read(ROWS) == [[0, 0]]


def test_a_repeated_push_does_not_reset_a_scan(site: MemorySite) -> None:
    digest = push_image(site)
    scans = scans_of(site)
    scans.scanned(claim_one(scans), INDEXER, {"High": 1})
    columns = "index_status, indexer_hash, severity_counts, available_at, last_indexed, xmin::text"
    before = row_of(site, digest, columns)
    assert push_image(site) == digest
    assert row_of(site, digest, columns) == before


def test_an_image_of_two_repositories_has_one_scan(site: MemorySite) -> None:
    assert push_image(site, repository="one") == push_image(site, repository="two")
    assert site.database.read(ROWS) == [[1, 2]]
    scans = scans_of(site)
    scans.scanned(claim_one(scans), INDEXER, {})
    assert statuses(site) == [2, 2]


def test_the_request_takes_no_further_round_trip(site: MemorySite) -> None:
    config, layer = b"config", b"layer"
    site.push(config)
    site.push(layer)
    name = RepositoryName(SUPERUSER, "app")
    numbers = []
    for scans in (False, True):
        content = image_manifest(config, [layer] * (1 + scans))
        round_trips.reset()
        put_image(site, content, name, scans=scans)
        numbers.append(round_trips.counts()[round_trips.DATABASE])
    assert numbers[0] == numbers[1]


def test_only_the_first_push_of_a_digest_wakes_the_workers(site: MemorySite) -> None:
    messages: list[str] = []
    site.database.on_info = messages.append
    push_image(site, repository="one")
    push_image(site, repository="two")
    assert [one for one in messages if one.startswith(SCAN_CHANNEL)] == [f'{SCAN_CHANNEL} ["scan"]']
