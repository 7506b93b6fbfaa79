"""Images are scanned by a Clair (a replay of a real one), and the API serves the reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from atoll.names import Digest, RepositoryName
from atoll.periodic import ThreadRegistry
from atoll.placement.upkeep.garbage import Collector
from atoll.scanning.removals import Removals
from atoll.scanning.report_cleanup import ReportCleanup

from ..caches import RecordingCache
from ..integration.services import wait_until
from .mirror_images import index_of, push_image, put
from .scanning_stack import Stack, scanning_stack
from .sites import MANIFEST_TYPE, SUPERUSER, image_manifest

__all__ = ["scanning_stack"]

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def stack(scanning_stack: Stack) -> Stack:
    return scanning_stack


def test_a_pushed_image_is_scanned_and_its_report_is_served(stack: Stack) -> None:
    digest = push_image(stack.us, "app", "v1")
    assert stack.security(digest) == {"status": "queued", "data": None}
    stack.scan_all()
    found = stack.security(digest)
    assert found["status"] == "scanned"
    assert "stale" not in found
    assert found["data"]["Layer"]["Name"] == str(digest)
    assert found["data"]["Layer"]["Features"]
    assert stack.reported[0][0] == str(digest)
    counts = stack.security(digest, query="?vulnerabilities=false")["data"]
    assert counts["Counts"]["Fixable"] > 0
    assert all("Vulnerabilities" not in one for one in counts["Layer"]["Features"])


def test_an_index_is_unsupported_and_lists_its_images(stack: Stack) -> None:
    amd64, arm64 = push_image(stack.us, "amd64"), push_image(stack.us, "arm64")
    index = put(stack.us, index_of({"amd64": amd64, "arm64": arm64}), INDEX_TYPE, "v1")
    stack.scan_all()
    children = {str(amd64): "scanned", str(arm64): "scanned"}
    assert stack.security(index) == {"status": "unsupported", "data": None, "children": children}


def with_a_huge_layer(manifest: dict[str, Any]) -> None:
    manifest["layers"][0]["size"] = 3 * 2**30


def with_an_encrypted_layer(manifest: dict[str, Any]) -> None:
    manifest["layers"][0]["mediaType"] += "+gzip+encrypted"


def as_an_artifact(manifest: dict[str, Any]) -> None:
    manifest["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (with_a_huge_layer, "manifest_layer_too_large"),
        (with_an_encrypted_layer, "unsupported"),
        (as_an_artifact, "unsupported"),
    ],
)
def test_an_image_that_clair_cannot_scan_is_not_sent_to_it(
    stack: Stack, change: Callable[[dict[str, Any]], None], status: str
) -> None:
    config, layer = b"config", b"layer"
    stack.us.push(config)
    stack.us.push(layer)
    manifest = json.loads(image_manifest(config, [layer]))
    change(manifest)
    digest = put(stack.us, json.dumps(manifest).encode(), MANIFEST_TYPE, "v1")
    stack.scan_all()
    assert stack.security(digest) == {"status": status, "data": None}
    requests = [one for clair in stack.clairs.values() for one in clair.requests]
    assert ("POST", "/indexer/api/v1/index_report") not in requests
    assert ("GET", "/indexer/api/v1/index_state") in requests


def test_no_image_changes_its_state_while_all_scanners_are_down(stack: Stack) -> None:
    digests = [push_image(stack.us, str(number)) for number in range(20)]
    for stop in stack.stopped.values():
        stop()
    worker = stack.worker()
    worker.start(ThreadRegistry())
    try:
        wait_until("the scanner is known to be away", lambda: stack.scanning.clairs.seconds() > 0)
        assert {stack.security(one)["status"] for one in digests} == {"queued"}
        rows = stack.us.database.read("SELECT DISTINCT attempts, failures FROM securityscan")
        assert [list(row) for row in rows] == [[0, 0]]
    finally:
        worker.stop()


@pytest.mark.parametrize("number", [40, pytest.param(1000, marks=pytest.mark.long)])
def test_all_images_pushed_during_an_outage_are_scanned_afterwards_and_none_fails(
    stack: Stack, number: int
) -> None:
    for stop in stack.stopped.values():
        stop()
    worker = stack.worker()
    worker.start(ThreadRegistry())
    try:
        for one in range(number):
            push_image(stack.us, str(one), f"v{one}")
        wait_until("the scanner is known to be away", lambda: stack.scanning.clairs.seconds() > 0)
        assert stack.due() == number
        for name in stack.clairs:
            stack.restart(name)
        wait_until("all images are scanned", lambda: not stack.due(), seconds=300)
    finally:
        worker.stop(wait=True)
    rows = stack.us.database.read("SELECT index_status, count(*) FROM securityscan GROUP BY 1")
    assert [list(row) for row in rows] == [[2, number]]


def test_the_scanner_of_another_site_is_used_while_the_own_one_is_down(stack: Stack) -> None:
    digest = push_image(stack.us, "app", "v1")
    stack.stopped["us"]()
    stack.scan_all()
    assert stack.security(digest)["status"] == "scanned"


def test_the_last_report_is_served_as_stale_while_no_scanner_responds(stack: Stack) -> None:
    digest = push_image(stack.us, "app", "v1")
    stack.scan_all()
    for stop in stack.stopped.values():
        stop()
    found = stack.security(digest)
    assert (found["status"], found["stale"]) == ("scanned", True)
    assert found["data"]["Layer"]["Features"]
    stack.us.database.run("DELETE FROM manifestsecurityreport RETURNING scan_id")
    error = stack.security(digest, status=520)
    assert error["error_type"] == "downstream_issue"


def test_a_report_without_vulnerability_data_is_queued(stack: Stack) -> None:
    stack.state.change(vulnerability_data=False)
    digest = push_image(stack.us, "app", "v1")
    stack.scan_all()
    assert stack.security(digest) == {"status": "queued", "data": None}
    stack.state.change(vulnerability_data=True)
    assert stack.security(digest)["status"] == "scanned"


def test_a_scanner_that_is_replaced_gets_all_images_again(stack: Stack) -> None:
    digest = push_image(stack.us, "app", "v1")
    stack.scan_all()
    stack.us.database.run(
        "UPDATE securityscan SET last_indexed = now() - interval '1 hour' RETURNING id"
    )
    stack.state.change(indexer_state="another state")
    worker = stack.worker()
    worker.start(ThreadRegistry())
    try:
        wait_until("the image is indexed again", lambda: len(stack.reported) == 2)
    finally:
        worker.stop()
    assert stack.security(digest)["status"] == "scanned"


def scanned_and_collected(stack: Stack) -> Digest:
    digest = push_image(stack.us, "app", "v1")
    stack.scan_all()
    assert stack.state.manifest(str(digest)) is not None
    site = stack.us
    site.database.run("UPDATE manifest SET deleted_at = now() - interval '1 year' RETURNING id")
    Collector(site.database, site.graph.bundle, RecordingCache()).delete_manifests()
    return digest


def cleanup(stack: Stack, *, enabled: bool = True) -> ReportCleanup:
    return ReportCleanup(Removals(stack.us.database), stack.scanning.clairs, enabled=enabled)


def removals(stack: Stack) -> int:
    return int(stack.us.database.read("SELECT count(*) FROM securityscanremoval")[0][0])


def test_the_report_of_a_collected_image_is_deleted_from_clair(stack: Stack) -> None:
    digest = scanned_and_collected(stack)
    assert cleanup(stack).step() is True
    assert stack.state.manifest(str(digest)) is None
    assert cleanup(stack).step() is False
    assert removals(stack) == 0


def test_the_report_of_a_collected_image_is_deleted_after_an_outage_of_clair(stack: Stack) -> None:
    digest = scanned_and_collected(stack)
    for stop in stack.stopped.values():
        stop()
    assert cleanup(stack).step() is False
    assert removals(stack) == 1
    stack.restart("eu")
    assert cleanup(stack).step() is True
    assert stack.state.manifest(str(digest)) is None


def test_clair_keeps_the_reports_of_collected_images_without_cleanup(stack: Stack) -> None:
    digest = scanned_and_collected(stack)
    assert cleanup(stack, enabled=False).step() is True
    assert stack.state.manifest(str(digest)) is not None
    assert removals(stack) == 0


def test_the_address_of_a_layer_is_that_of_the_store_beside_the_clair(stack: Stack) -> None:
    content = b"layer app"
    push_image(stack.us, "app", "v1")
    repository = RepositoryName(SUPERUSER, stack.us.repository.name)
    (layer,) = stack.scanning.addresses.of(repository, [str(Digest.of(content))], "us")
    assert layer.uri.startswith("https://us.test/")
    assert "seconds=3600" in layer.uri
    assert layer.uri not in repr(layer)
