"""Mirror processes start requested work at once, however rarely they look for due work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from atoll.mirroring.metrics import export_mirrors
from atoll.names import RepositoryName
from prometheus_client import REGISTRY

from ..upstream import listings
from ..upstream.certificates import PrivateCa, private_ca
from ..upstream.clients import USER, upstreams
from ..upstream.fault_upstream import FaultUpstream
from .mirrored import make_mirror, mirrors
from .mirrored_organizations import ORGANIZATION, make_organization_mirror, organization_mirrors
from .sites import SUPERUSER, MemorySite, make_registry

NAME = RepositoryName(SUPERUSER, "app")
# Longer than any wait that can succeed, and the pause between two looks.
_PATIENCE, _INTERVAL = 120.0, 3600
_CHANGES: dict[str, object] = {
    "FEATURE_REPO_MIRROR": True,
    "FEATURE_ORG_MIRROR": True,
    "REPO_MIRROR_INTERVAL": _INTERVAL,
    "ORG_MIRROR_INTERVAL": _INTERVAL,
}


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> PrivateCa:
    return private_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def upstream(ca: PrivateCa) -> Iterator[FaultUpstream]:
    with FaultUpstream(ca.server_context()).running() as running:
        running.listing = listings.quay
        yield running


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path, ca: PrivateCa) -> Iterator[MemorySite]:
    """A site without a mirror process; the only one is that of the other site."""
    registry = make_registry(make_database(), tmp_path, ["us", "eu"], _CHANGES)
    mirroring = registry["eu"].graph.mirror_workers(copies=4, upstreams=upstreams(ca))
    mirroring.start()
    yield registry["us"]
    mirroring.stop()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_request_at_another_site_starts_a_run_and_its_copies(
    site: MemorySite, upstream: FaultUpstream
) -> None:
    change = {
        "external_reference": f"{upstream.host}/team/app",
        "external_registry_username": USER.username,
        "external_registry_password": USER.password,
        "sync_interval": 0,
    }
    make_mirror(site, NAME, change)  # type: ignore[arg-type]
    duration = "quay_repository_mirror_sync_duration_seconds_count"
    before = sample(duration, namespace=SUPERUSER)
    for number in range(2):
        # All copies but one are claimed after those before them.
        for tag in range(5):
            upstream.repository().add_image(f"{number}.{tag}", seed=5 * number + tag)
        mirrors(site).request_sync(NAME)
        until(lambda: mirrors(site).find(NAME).status == "SUCCESS")
    assert sample(duration, namespace=SUPERUSER) == before + 2


def test_a_new_organization_mirror_is_discovered_and_copied(
    site: MemorySite, upstream: FaultUpstream
) -> None:
    upstream.repository("team/app").add_image("1.0")
    names = ("repo_sync_total", "repo_sync_duration_seconds_count")
    labels: list[dict[str, str]] = [{"status": "success"}, {}]
    metrics = [(f"quay_org_mirror_{name}", one) for name, one in zip(names, labels, strict=True)]
    before = [sample(name, **one) for name, one in metrics]
    changes = {
        "external_registry_url": upstream.url,
        "external_registry_password": listings.TOKEN,
    }
    make_organization_mirror(site, changes)  # type: ignore[arg-type]

    def run_ended() -> bool:
        return [sample(name, **one) for name, one in metrics] == [one + 1 for one in before]

    until(run_ended)
    export_mirrors(site.database)
    assert sample("quay_org_mirror_repos_discovered") == 1
    assert sample("quay_org_mirror_repositories_unmirrored") == 0
    upstream.repository("team/web")
    organization_mirrors(site).request_sync(ORGANIZATION)
    web = "SELECT name FROM orgmirrorrepository WHERE name = 'web'"
    until(lambda: site.database.read(web))
