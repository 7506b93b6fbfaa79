"""Replication works between Swift's S3 API and Ceph's object gateway.

The load balancer sends clients to the site with Swift while it is healthy.
"""

import json
from pathlib import Path

import pytest
from balancer import sites_in_use
from clients import Clients
from commands import wait_until
from definition import Lab
from load import Load, copy, write_image
from pausing import paused
from site_machine import SiteMachine
from stored import StoredBlobs

# The size of a layer in bytes that is written in several parts.
LARGE = 40_000_000


def layer_of(layout: Path, digest: str) -> tuple[str, bytes]:
    """Return the digest and the content of the layer of an image in a layout."""
    blobs = layout / "blobs/sha256"
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_text())
    layer = str(manifest["layers"][0]["digest"])
    return layer, (blobs / layer.removeprefix("sha256:")).read_bytes()


@pytest.fixture(params=["from Swift to Ceph", "from Ceph to Swift"])
def direction(
    request: pytest.FixtureRequest, us: SiteMachine, eu: SiteMachine
) -> tuple[SiteMachine, SiteMachine]:
    """Return the site to push to, and the other site."""
    return (us, eu) if request.param == "from Swift to Ceph" else (eu, us)


def test_large_images_are_replicated_between_the_kinds_under_load(
    lab: Lab, clients: Clients, direction: tuple[SiteMachine, SiteMachine], tmp_path: Path
) -> None:
    here, there = direction
    layout, name = tmp_path / "large", f"admin/{here.site.name}"
    digest = write_image(layout, LARGE)
    layer, content = layer_of(layout, digest)
    with Load(clients, tmp_path, "admin/load") as load:
        assert not copy(clients, f"oci:{layout}:1", f"docker://{here.address}/{name}:1")
        here.atoll(f"wait {name}:1 --location {there.location} --timeout 300")
        wait_until("the load is running", lambda: load.pulls > 2)

    assert load.failures == []
    assert load.pulls == len(load.pushed)
    assert StoredBlobs(lab, here.location).read(layer) == content
    assert StoredBlobs(lab, there.location).read(layer) == content
    assert clients.skopeo_pull(there.address, f"{name}@{digest}") == digest
    here.atoll("wait --timeout 300")
    for pushed, of_load in load.pushed.items():
        reference = f"{pushed.partition(':')[0]}@{of_load}"
        for site in direction:
            assert clients.skopeo_pull(site.address, reference) == of_load


def test_blobs_that_are_pushed_while_swift_hangs_are_copied_to_it_later(
    lab: Lab, clients: Clients, us: SiteMachine, eu: SiteMachine, tmp_path: Path
) -> None:
    store = next(store for store in lab.stores if store.location == us.location)
    layout = tmp_path / "pushed"
    digest = write_image(layout, LARGE)
    layer, content = layer_of(layout, digest)
    wait_until("the load balancer uses both sites", lambda: len(sites_in_use(lab)) == 2)
    with paused(store):
        wait_until(
            "the load balancer uses only the other site",
            lambda: sites_in_use(lab) == {eu.site.machine.name},
        )
        with Load(clients, tmp_path, "admin/without-swift") as load:
            name = f"{clients.registry}/admin/meanwhile:1"
            assert not copy(clients, f"oci:{layout}:1", f"docker://{name}")
            wait_until("the load continues", lambda: load.pulls > 2)

    assert load.failures == []
    eu.atoll("wait --timeout 300")
    assert StoredBlobs(lab, us.location).read(layer) == content
    wait_until("the load balancer uses both sites again", lambda: len(sites_in_use(lab)) == 2)
    assert clients.skopeo_pull(us.address, f"admin/meanwhile@{digest}") == digest


def test_a_defective_object_in_swift_is_healed_from_ceph(
    lab: Lab, clients: Clients, us: SiteMachine, tmp_path: Path
) -> None:
    layout = tmp_path / "victim"
    digest = write_image(layout, LARGE)
    layer, content = layer_of(layout, digest)
    assert not copy(clients, f"oci:{layout}:1", f"docker://{clients.registry}/admin/victim:1")
    us.atoll("wait --timeout 300")
    stored = StoredBlobs(lab, us.location)
    stored.write(layer, bytes(LARGE))

    us.attempt("podman exec atoll-registry atoll verify --full --heal")

    us.atoll("wait --timeout 300")
    assert stored.read(layer) == content
    us.atoll("verify --full")
    assert clients.skopeo_pull(us.address, f"admin/victim@{digest}") == digest
