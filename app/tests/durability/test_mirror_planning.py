"""Plans of runs when the upstream does not describe all of its tags, or the plan is cancelled."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from atoll.mirroring.mirrors import MirrorChange
from atoll.mirroring.status import RunStatus
from atoll.mirroring.workers import MirrorWorkers
from atoll.names import RepositoryName

from ..upstream import fault_upstream as faults
from ..upstream.certificates import PrivateCa
from ..upstream.clients import USER, upstreams
from ..upstream.content import OCI_CONFIG, OCI_IMAGE, UpstreamRepository, layer
from ..upstream.fault_upstream import FaultUpstream, _Handler
from .mirrored import last_run, make_mirror, mirrors
from .sites import SUPERUSER, MemorySite

NAME = RepositoryName(SUPERUSER, "app")
_PATIENCE = 120.0
_YEARS = 10 * 365 * 86_400
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+json"


@pytest.fixture
def there(upstream: FaultUpstream) -> UpstreamRepository:
    """The content of the upstream: two images."""
    content = upstream.repository()
    for number in range(2):
        content.add_image(f"v{number}", layers=[layer(number)])
    return content


@pytest.fixture
def mirroring(site: MemorySite, ca: PrivateCa) -> Iterator[MirrorWorkers]:
    found = site.graph.mirror_workers(copies=2, upstreams=upstreams(ca), watch_seconds=0.2)
    yield found
    found.stop()


def create(site: MemorySite, upstream: FaultUpstream, change: MirrorChange | None = None) -> None:
    new: MirrorChange = {
        "external_reference": f"{upstream.host}/team/app",
        "external_registry_username": USER.username,
        "external_registry_password": USER.password,
        **(change or {}),
    }
    make_mirror(site, NAME, new)


def undated_image(there: UpstreamRepository, tag: str) -> None:
    """Add an image whose configuration has no date."""
    config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
    descriptor = {
        "mediaType": OCI_CONFIG,
        "digest": there.add_blob(config),
        "size": len(config),
    }
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": descriptor,
        "layers": [],
        "annotations": {"tag": tag},
    }
    there.add_manifest(document, OCI_IMAGE, tag)


def sync(site: MemorySite) -> RunStatus:
    """Request a run, wait for its end, and return it."""
    mirrors(site).request_sync(NAME)
    return ended(site)


def ended(site: MemorySite) -> RunStatus:
    deadline = time.monotonic() + _PATIENCE
    while mirrors(site).find(NAME).status in {"NEVER_RUN", "SYNC_NOW", "SYNCING"}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return last_run(site, NAME)


def tags(site: MemorySite) -> set[str]:
    rows = site.database.read("SELECT name FROM tag WHERE lifetime_end_ms IS NULL")
    return {row[0] for row in rows}


@pytest.mark.parametrize("rollback", [False, True])
def test_a_tag_that_the_upstream_refuses_does_not_stop_the_others(
    site: MemorySite,
    upstream: FaultUpstream,
    there: UpstreamRepository,
    mirroring: MirrorWorkers,
    rollback: bool,
) -> None:
    there.add_image("forbidden", layers=[layer(3)])
    there.add_image("broken", layers=[layer(4)])
    create(site, upstream, {"options": {"rollback": rollback}})
    upstream.fail("manifest", faults.status(403), path="/manifests/forbidden", times=None)
    upstream.fail("manifest", faults.status(500), path="/manifests/broken", times=None)
    mirroring.start()
    run = ended(site)
    assert (run.outcome, run.reason) == ("FAIL", "partial")
    assert "broken, forbidden" in (run.message or "")
    assert (run.tags_total, run.tags_failed) == (4, 2)
    assert tags(site) == (set() if rollback else {"v0", "v1"})
    upstream.recover()
    assert sync(site).outcome == "SUCCESS"
    # The tags are kept while the upstream does not describe them.
    upstream.fail("manifest", faults.status(500), path="/manifests/broken", times=None)
    run = sync(site)
    assert (run.outcome, run.tags_unchanged, run.tags_failed) == ("FAIL", 3, 1)
    assert tags(site) == {"v0", "v1", "forbidden", "broken"}


def test_a_failure_that_passes_is_not_one_of_the_tag(
    site: MemorySite, upstream: FaultUpstream, there: UpstreamRepository, mirroring: MirrorWorkers
) -> None:
    create(site, upstream)
    upstream.fail("manifest", faults.status(500), path="/manifests/v0")
    mirroring.start()
    assert ended(site).outcome == "SUCCESS"
    assert tags(site) == set(there.tags)


def test_an_upstream_that_describes_no_tag_fails_the_run(
    site: MemorySite, upstream: FaultUpstream, there: UpstreamRepository, mirroring: MirrorWorkers
) -> None:
    create(site, upstream)
    upstream.fail("manifest", faults.status(500), times=None)
    assert mirroring.worker.plan_next()
    run = last_run(site, NAME)
    assert (run.outcome, run.reason, run.tags_total) == ("FAIL", "server_error", 0)
    assert mirrors(site).find(NAME).row["retries_remaining"] == 3
    assert there.tags


def test_tags_of_unknown_age_are_kept_and_reported(
    site: MemorySite,
    ca: PrivateCa,
    upstream: FaultUpstream,
    there: UpstreamRepository,
    mirroring: MirrorWorkers,
) -> None:
    undated_image(there, "undated")
    there.add_image("unreadable", layers=[layer(5)], architecture="arm64")
    there.add_image("vanished", layers=[layer(6)])
    create(site, upstream)
    mirroring.start()
    assert ended(site).outcome == "SUCCESS"
    mirroring.stop()
    planner = site.graph.mirror_workers(copies=1, upstreams=upstreams(ca)).worker
    there.add_raw_manifest(b'{"schemaVersion": 1}', _SCHEMA_1, "old-format")
    undated_image(there, "undated-too")
    mirrors(site).change(NAME, {"options": {"max_age": _YEARS, "delete_limit": 1.0}})
    upstream.fail("manifest", faults.status(404), path="/manifests/vanished", times=None)
    config = json.loads(there.manifests[there.tags["unreadable"]][1])["config"]["digest"]
    upstream.fail("blob", faults.status(500), path=config, times=None)
    mirrors(site).request_sync(NAME)
    assert planner.plan_next()
    run = last_run(site, NAME)
    assert (run.outcome, run.reason, run.tags_deleted) == ("FAIL", "partial", 0)
    assert "old-format, unreadable" in (run.message or "")
    upstream.recover()
    upstream.fail("manifest", faults.status(404), path="/manifests/vanished", times=None)
    del there.tags["old-format"]
    mirrors(site).request_sync(NAME)
    assert planner.plan_next()
    run = last_run(site, NAME)
    assert (run.outcome, run.tags_deleted) == ("SUCCESS", 0)
    assert "undated, undated-too" in (run.message or "")
    assert mirrors(site).find(NAME).row["status_message"] == run.message
    assert tags(site) == {"v0", "v1", "undated", "unreadable", "vanished"}


def test_a_cancelled_plan_sends_no_further_requests(
    site: MemorySite, upstream: FaultUpstream, there: UpstreamRepository, mirroring: MirrorWorkers
) -> None:
    digest = next(iter(there.tags.values()))
    there.tags |= {f"copy{number}": digest for number in range(400)}
    create(site, upstream)

    def slow(handler: _Handler, body: bytes) -> None:
        time.sleep(0.05)
        handler.respond(handler._head[0], body, handler._head[1])

    upstream.fail("manifest", slow, times=None)
    mirroring.start()
    deadline = time.monotonic() + _PATIENCE
    while not upstream.count("manifest"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    begun = time.monotonic()
    mirrors(site).request_cancel(NAME)
    assert ended(site).outcome == "CANCEL"
    while mirroring.worker.busy:
        time.sleep(0.01)
    assert time.monotonic() - begun < 5
    assert upstream.count("manifest") < 400


def test_a_stopped_listing_requests_no_further_page(
    site: MemorySite, upstream: FaultUpstream, there: UpstreamRepository, ca: PrivateCa
) -> None:
    there.tags |= {f"copy{number}": there.tags["v0"] for number in range(5)}
    upstream.oddities.page_size = 1
    create(site, upstream)
    settings = mirrors(site).settings(mirrors(site).find(NAME))

    def check() -> None:
        if upstream.count("tags") == 2:
            raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        upstreams(ca).client(settings.reference, settings.access).tags(check)
    assert upstream.count("tags") == 2
