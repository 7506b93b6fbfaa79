"""Defective objects are found, not served, and replaced from good copies."""

import json
from pathlib import Path

from clients import Clients
from commands import wait_until
from definition import Lab
from recovery import Registry
from site_machine import SiteMachine
from stored import StoredBlobs
from traffic import push_images

# The exit status if copies are bad and every blob has a good copy elsewhere.
_BAD_COPIES = 1


def _layer(clients: Clients, site: SiteMachine, name: str) -> str:
    return str(json.loads(clients.skopeo_manifest(site.address, name))["layers"][0]["digest"])


def test_corrupted_and_truncated_objects_are_found_healed_and_not_served(
    lab: Lab,
    clients: Clients,
    registry: Registry,
    us: SiteMachine,
    tmp_path: Path,
) -> None:
    stored = StoredBlobs(lab, us.location)
    victims = push_images(clients, tmp_path / "victims", "admin/victims", 2)
    us.atoll("wait --timeout 600")
    corrupted, truncated = (_layer(clients, us, name) for name in victims)
    good = {digest: stored.read(digest) for digest in (corrupted, truncated)}
    with registry.traffic(tmp_path / "traffic", us) as traffic:
        wait_until("clients push and pull", traffic.works)
        stored.write(corrupted, bytes(len(good[corrupted])))
        stored.write(truncated, good[truncated][:1000])

        report = us.attempt("podman exec atoll-registry atoll verify --full --json")
        healing = us.attempt("podman exec atoll-registry atoll verify --full --resume --heal")

        # Pulls must return the right content even before the objects are healed.
        for _ in range(5):
            assert registry.not_pullable(tmp_path, victims) == []
        us.atoll("wait --timeout 600")
    assert (report.returncode, healing.returncode) == (_BAD_COPIES, _BAD_COPIES), report.stdout
    found = {one["digest"]: one["location"] for one in json.loads(report.stdout)["findings"]}
    assert found == {corrupted: us.location, truncated: us.location}
    assert {digest: stored.read(digest) for digest in good} == good
    assert list(map(str, traffic.failures())) == []
    assert registry.lost(tmp_path, {**traffic.pushed, **victims}) == []
