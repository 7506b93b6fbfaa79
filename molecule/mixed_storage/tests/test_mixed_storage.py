"""Swift's S3 API at one site and Ceph's object gateway at the other are one registry.

The load balancer sends clients to the site with Swift as long as it is well.
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

# Of a layer: what is written in parts.
LARGE = 40_000_000


def layer_of(layout: Path, digest: str) -> tuple[str, bytes]:
    """Return digest and bytes of the layer of an image in LAYOUT."""
    blobs = layout / "blobs/sha256"
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_text())
    layer = str(manifest["layers"][0]["digest"])
    return layer, (blobs / layer.removeprefix("sha256:")).read_bytes()


@pytest.fixture(params=["from Swift to Ceph", "from Ceph to Swift"])
def direction(
    request: pytest.FixtureRequest, us: SiteMachine, eu: SiteMachine
) -> tuple[SiteMachine, SiteMachine]:
    """Give the site that is pushed to, and the other one."""
    return (us, eu) if request.param == "from Swift to Ceph" else (eu, us)


def test_large_images_go_from_one_kind_to_the_other_while_people_push_and_pull(
    lab: Lab, clients: Clients, direction: tuple[SiteMachine, SiteMachine], tmp_path: Path
) -> None:
    here, there = direction
    layout, name = tmp_path / "large", f"admin/{here.site.name}"
    digest = write_image(layout, LARGE)
    layer, content = layer_of(layout, digest)
    with Load(clients, tmp_path, "admin/load") as load:
        assert not copy(clients, f"oci:{layout}:1", f"docker://{here.address}/{name}:1")
        here.atoll(f"wait {name}:1 --location {there.location} --timeout 300")
        wait_until("the load is there", lambda: load.pulls > 2)

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


def test_what_is_pushed_while_swift_hangs_comes_home_to_it(
    lab: Lab, clients: Clients, us: SiteMachine, eu: SiteMachine, tmp_path: Path
) -> None:
    store = next(store for store in lab.stores if store.location == us.location)
    layout = tmp_path / "pushed"
    digest = write_image(layout, LARGE)
    layer, content = layer_of(layout, digest)
    wait_until("the load balancer uses both sites", lambda: len(sites_in_use(lab)) == 2)
    with paused(store):
        wait_until(
            "the load balancer uses the other site alone",
            lambda: sites_in_use(lab) == {eu.site.machine.name},
        )
        with Load(clients, tmp_path, "admin/without-swift") as load:
            name = f"{clients.registry}/admin/home:1"
            assert not copy(clients, f"oci:{layout}:1", f"docker://{name}")
            wait_until("the load goes on", lambda: load.pulls > 2)

    assert load.failures == []
    eu.atoll("wait --timeout 300")
    assert StoredBlobs(lab, us.location).read(layer) == content
    wait_until("the site is back", lambda: len(sites_in_use(lab)) == 2)
    assert clients.skopeo_pull(us.address, f"admin/home@{digest}") == digest


def test_what_is_wrong_in_swift_is_healed_from_ceph(
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
