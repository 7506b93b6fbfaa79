"""`atoll mirror organization`, `atoll status` and the metrics show mirrored organizations."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from atoll.cli import polling
from atoll.mirroring.metrics import export_mirrors
from atoll.mirroring.organizations.discoveries import Discoveries
from atoll.mirroring.organizations.reconciliation import Reconciliation
from atoll.names import RepositoryName
from prometheus_client import REGISTRY

from ..upstream import listings
from ..upstream.certificates import private_ca
from ..upstream.fault_upstream import FaultUpstream
from .commands import run_command
from .mirrored_organizations import (
    ORGANIZATION,
    claimed,
    discover,
    make_organization_mirror,
    organization_mirrors,
)
from .sites import MemorySite, make_registry

Found = TypeVar("Found")


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    settings: dict[str, object] = {"SSRF_ALLOWED_HOSTS": ["127.0.0.1"]}
    return make_registry(make_database(), tmp_path, ["us"], settings)["us"]


def command(site: MemorySite, *words: str) -> int:
    return run_command(site, "mirror", "organization", *words)


def metric(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"quay_org_mirror_{name}", labels)


def test_a_mirror_and_its_repositories_are_shown(
    site: MemorySite, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(site, "list") == 0
    assert "No organization is a mirror." in capsys.readouterr().out
    assert command(site, "show", ORGANIZATION) == 1
    make_organization_mirror(site)
    site.graph.repositories.create(RepositoryName(ORGANIZATION, "taken"), "private")
    discover(site, "app", "taken", "web")
    discover(site, "app", "taken")
    site.database.run("UPDATE repomirrorconfig SET sync_status = 'SUCCESS'", {})
    capsys.readouterr()
    for words in (["list"], ["show", ORGANIZATION], ["repositories", ORGANIZATION]):
        assert command(site, *words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(ORGANIZATION in line or "taken" in line for line in lines)
    assert command(site, "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed[0]["reference"] == "https://quay.example.com/team"
    counts = {name: count for name, count in listed[0]["repositories"].items() if count}
    assert counts == {"SUCCESS": 1, "FAIL": 1, "SKIP": 1}
    assert command(site, "list", "--failed", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    site.database.run("DELETE FROM orgmirrorrepository WHERE state = 'conflict'")
    assert command(site, "list", "--failed", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    assert command(site, "repositories", ORGANIZATION, "--status", "SKIP", "--json") == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["web"]


def test_a_discovery_is_requested_awaited_and_cancelled(
    site: MemorySite, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_organization_mirror(site)
    assert command(site, "sync", ORGANIZATION) == 0
    assert command(site, "cancel", ORGANIZATION, "--json") == 0
    assert command(site, "cancel", ORGANIZATION) == 1
    reconciliation = Reconciliation(site.database, site.graph.cipher)

    def discovery() -> None:
        found = Discoveries(site.database).claim(None, [])
        assert found is not None
        reconciliation.apply(found[1], ["app", "web"], ["app", "web"])

    def runs(status: str) -> None:
        site.database.run("UPDATE repomirrorconfig SET sync_status = %(s)s", {"s": status})

    steps: list[Callable[[], None]] = []

    def poll(query: Callable[[], Found]) -> Found:
        steps.pop(0)()
        return query()

    monkeypatch.setattr(polling, "poll", poll)
    for result, code in (("SUCCESS", 0), ("FAIL", 1)):
        steps[:] = [discovery, partial(runs, result)]
        assert command(site, "wait", ORGANIZATION) == code
    assert "2 repositories" in capsys.readouterr().err
    steps[:] = [lambda: organization_mirrors(site).request_cancel(ORGANIZATION) and None]
    assert command(site, "wait", ORGANIZATION) == 1
    assert "CANCEL" in capsys.readouterr().err
    assert command(site, "wait", ORGANIZATION, "--timeout", "0") == 1
    discovery()
    steps[:] = [discovery, partial(runs, "SUCCESS")]
    assert command(site, "sync", ORGANIZATION, "--wait") == 0
    assert command(site, "sync", ORGANIZATION, "--timeout", "1") == 1
    assert "--timeout requires --wait" in capsys.readouterr().err


def test_the_upstream_is_verified(
    site: MemorySite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = private_ca(tmp_path)
    with FaultUpstream(authority.server_context()).running() as upstream:
        upstream.listing = listings.harbor
        upstream.repository("team/app")
        make_organization_mirror(
            site,
            {
                "external_registry_type": "harbor",
                "external_registry_url": upstream.url,
                "options": {"ca_certificate": authority.certificate.read_text()},
            },
        )
        assert command(site, "verify", ORGANIZATION) == 0
        assert "1 repositories" in capsys.readouterr().out
        upstream.repositories.clear()
        assert command(site, "verify", ORGANIZATION, "--json") == 1
        assert json.loads(capsys.readouterr().out)["success"] is False


def test_status_and_metrics_show_a_mirror_without_discovery(
    site: MemorySite, capsys: pytest.CaptureFixture[str]
) -> None:
    make_organization_mirror(site)
    discover(site, "app")
    export_mirrors(site.database)
    assert metric("last_discovery_status", namespace=ORGANIZATION) == 1
    assert metric("last_discovery_timestamp", namespace=ORGANIZATION) is not None
    assert metric("pending_tags", namespace=ORGANIZATION, repository="app") == 0
    run_command(site, "status", "--json")
    shown = json.loads(capsys.readouterr().out)
    assert shown["organization_mirrors"]["overdue"] == 0
    claimed(site)
    site.database.run("UPDATE orgmirrorconfig SET last_success_at = now() - interval '1 d'", {})
    export_mirrors(site.database)
    assert metric("last_discovery_status", namespace=ORGANIZATION) == 2
    assert metric("configs_pending_discovery") == 1
    run_command(site, "status")
    text = capsys.readouterr().out
    assert f"mirrored organization {ORGANIZATION} have" in " ".join(text.split())
