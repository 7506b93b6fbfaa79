"""An object that proves wrong at one location is found, served to nobody, and written anew."""

import json
from pathlib import Path

from clients import Clients
from commands import wait_until
from definition import Lab
from recovery import Registry
from site_machine import SiteMachine
from stored import StoredBlobs
from traffic import push_images

# What a command ends with: something is wrong, and every blob has a good copy elsewhere.
_WRONG = 1


def _layer(clients: Clients, site: SiteMachine, name: str) -> str:
    return str(json.loads(clients.skopeo_manifest(site.address, name))["layers"][0]["digest"])


def test_a_corrupted_and_a_truncated_object_are_found_healed_and_never_served(
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
    right = {digest: stored.read(digest) for digest in (corrupted, truncated)}
    with registry.traffic(tmp_path / "people", us) as traffic:
        wait_until("people are at work", traffic.works)
        stored.write(corrupted, bytes(len(right[corrupted])))
        stored.write(truncated, right[truncated][:1000])

        report = us.attempt("podman exec atoll-registry atoll verify --full --json")
        healing = us.attempt("podman exec atoll-registry atoll verify --full --resume --heal")

        # Healed or not yet: what is pulled from now on is right.
        for _ in range(5):
            assert registry.not_pullable(tmp_path, victims) == []
        us.atoll("wait --timeout 600")
    assert (report.returncode, healing.returncode) == (_WRONG, _WRONG), report.stdout
    found = {one["digest"]: one["location"] for one in json.loads(report.stdout)["findings"]}
    assert found == {corrupted: us.location, truncated: us.location}
    assert {digest: stored.read(digest) for digest in right} == right
    assert list(map(str, traffic.failures())) == []
    assert registry.lost(tmp_path, {**traffic.pushed, **victims}) == []
