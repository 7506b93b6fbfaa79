"""Workers discover the repositories of an upstream and mirror them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from atoll.db.queue_runner import QueueRunner
from atoll.mirroring.organizations.organization_mirrors import OrganizationMirrorChange
from atoll.mirroring.workers import MirrorWorkers
from atoll.names import RepositoryName

from ..upstream import fault_upstream as faults
from ..upstream import listings
from ..upstream.certificates import PrivateCa
from ..upstream.clients import upstreams
from ..upstream.fault_upstream import Answer, FaultUpstream, Request
from .mirrored_organizations import (
    ORGANIZATION,
    make_organization_mirror,
    organization_mirrors,
)
from .sites import MemorySite, make_registry

# Longer than any wait that can succeed.
_PATIENCE = 120.0


@pytest.fixture
def upstream(ca: PrivateCa) -> Iterator[FaultUpstream]:
    with FaultUpstream(ca.server_context()).running() as running:
        running.listing = listings.quay
        yield running


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    settings = {"FEATURE_ORG_MIRROR": True}
    return make_registry(make_database(), tmp_path, ["us"], settings)["us"]


@pytest.fixture
def mirroring(site: MemorySite, ca: PrivateCa) -> Iterator[MirrorWorkers]:
    """The started worker of the site."""
    found = site.graph.mirror_workers(copies=4, upstreams=upstreams(ca), watch_seconds=0.2)
    found.start()
    yield found
    found.stop()


def create(
    site: MemorySite, upstream: FaultUpstream, change: OrganizationMirrorChange | None = None
) -> None:
    new: OrganizationMirrorChange = {
        "external_registry_url": upstream.url,
        "external_registry_password": listings.TOKEN,
        **(change or {}),
    }
    make_organization_mirror(site, new)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finished(site: MemorySite, status: str) -> str:
    """Wait until the discovery ended, and return its reason."""
    until(lambda: status_of(site) not in {"NEVER_RUN", "SYNC_NOW", "SYNCING"})
    row = organization_mirrors(site).find(ORGANIZATION).row
    assert row["sync_status"] == status, (row["reason"], row["status_message"])
    return str(row["reason"])


def status_of(site: MemorySite) -> str:
    return organization_mirrors(site).find(ORGANIZATION).status


def tags(site: MemorySite) -> set[tuple[str, str]]:
    rows = site.database.read(
        "SELECT r.name, t.name FROM tag t JOIN repository r ON r.id = t.repository_id"
        " WHERE t.lifetime_end_ms IS NULL"
    )
    return {(repository, tag) for repository, tag in rows}


@pytest.mark.usefixtures("mirroring")
def test_all_selected_repositories_are_copied_and_those_that_are_gone_are_kept(
    site: MemorySite, upstream: FaultUpstream
) -> None:
    upstream.oddities.page_size = 2
    for name in ("team/app", "team/deep/web", "team/secret", "other/app"):
        upstream.repository(name).add_image("1.0")
    create(site, upstream, {"repository_filters": ["app", "deep/*"]})
    expected = {("app", "1.0"), ("deep/web", "1.0")}
    until(lambda: tags(site) == expected)
    del upstream.repositories["team/deep/web"]
    upstream.repository("team/app").add_image("2.0")
    organization_mirrors(site).request_sync(ORGANIZATION)
    until(lambda: tags(site) == {*expected, ("app", "2.0")})
    skipped = RepositoryName(ORGANIZATION, "deep/web")
    assert not site.graph.mirrors.find(skipped).is_enabled


@pytest.mark.usefixtures("mirroring")
def test_an_empty_or_incomplete_list_changes_nothing(
    site: MemorySite, upstream: FaultUpstream
) -> None:
    for name in ("app", "web"):
        upstream.repository(f"team/{name}")
    create(site, upstream)
    finished(site, "SUCCESS")
    known = site.database.read("SELECT name, state FROM orgmirrorrepository")
    upstream.repositories.clear()
    organization_mirrors(site).request_sync(ORGANIZATION)
    assert finished(site, "FAIL") == "upstream_empty"
    upstream.repository("team/app")
    upstream.oddities.page_size = 1
    upstream.repository("team/web")
    upstream.fail("listing", faults.status(500), after=1)
    organization_mirrors(site).request_sync(ORGANIZATION)
    assert finished(site, "FAIL") == "server_error"
    assert site.database.read("SELECT name, state FROM orgmirrorrepository") == known


@pytest.mark.usefixtures("mirroring")
def test_refused_credentials_are_sent_three_times_only(
    site: MemorySite, upstream: FaultUpstream
) -> None:
    create(site, upstream, {"external_registry_password": "wrong"})
    for _ in range(4):
        assert finished(site, "FAIL") == "auth_failed"
        due = "UPDATE orgmirrorconfig SET next_at = now(), sync_status = 'NEVER_RUN'"
        site.database.run(due, {})
    assert finished(site, "FAIL") == "auth_failed"
    assert upstream.count("listing") == 3
    organization_mirrors(site).request_sync(ORGANIZATION)
    finished(site, "FAIL")
    assert upstream.count("listing") == 4


def test_a_cancelled_discovery_ends_and_a_stopped_one_is_given_back(
    site: MemorySite,
    upstream: FaultUpstream,
    mirroring: MirrorWorkers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, proceed = threading.Event(), threading.Event()

    def listing(server: FaultUpstream, request: Request) -> Answer:
        asked.set()
        assert proceed.wait(_PATIENCE)
        return listings.quay(server, request)

    upstream.repository("team/app")
    upstream.listing = listing
    create(site, upstream)
    assert asked.wait(_PATIENCE)
    organization_mirrors(site).request_cancel(ORGANIZATION)
    assert mirroring.discovery is not None
    mirroring.discovery.extend()
    proceed.set()
    asked.clear()
    assert status_of(site) == "CANCEL"
    proceed.clear()
    organization_mirrors(site).request_sync(ORGANIZATION)
    assert asked.wait(_PATIENCE)
    stop_runner = QueueRunner.stop

    def stop(runner: QueueRunner[int, object]) -> None:
        # The discovery in progress has been told to stop.
        proceed.set()
        stop_runner(runner)

    monkeypatch.setattr(QueueRunner, "stop", stop)
    mirroring.stop()
    row = organization_mirrors(site).find(ORGANIZATION).row
    assert (row["sync_status"], row["lease_token"]) == ("SYNCING", None)
    assert site.database.read("SELECT count(*) FROM orgmirrorrepository")[0][0] == 0
