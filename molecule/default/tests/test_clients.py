"""podman, skopeo and oras push through the load balancer and pull from each site."""

import json
from pathlib import Path

import images
import pytest
from clients import Clients
from site_machine import SiteMachine


@pytest.fixture(scope="module")
def pushed(clients: Clients) -> str:
    return clients.podman_push(images.DEMONSTRATION.tag, "admin/podman:1")


def test_an_image_has_the_same_digest_at_each_site_by_tag_and_by_digest(
    clients: Clients, us: SiteMachine, eu: SiteMachine, pushed: str
) -> None:
    us.atoll("replication wait --timeout 300")

    for site in (us, eu):
        assert clients.skopeo_pull(site.address, "admin/podman:1") == pushed
        assert clients.skopeo_pull(site.address, f"admin/podman@{pushed}") == pushed


def test_the_image_has_at_least_three_layers(
    clients: Clients, eu: SiteMachine, pushed: str
) -> None:
    manifest = json.loads(clients.skopeo_manifest(eu.address, f"admin/podman@{pushed}"))

    assert len(manifest["layers"]) >= 3


def test_podman_pulls_an_image_that_podman_pushed(clients: Clients, pushed: str) -> None:
    assert clients.podman_pull(f"admin/podman@{pushed}") == pushed


def test_skopeo_pushes_an_image_that_it_pulled(
    clients: Clients, eu: SiteMachine, pushed: str
) -> None:
    clients.skopeo_pull(eu.address, f"admin/podman@{pushed}")

    assert clients.skopeo_push(f"dir:{clients.folder}/pulled", "admin/skopeo:1") == pushed


def test_oras_pulls_a_file_that_it_pushed(clients: Clients) -> None:
    file = Path(clients.folder / "bill-of-materials.json")
    content = json.dumps({"made": "by the test"})
    file.write_text(content)
    reference = f"{clients.registry}/admin/oras:1"

    clients.oras("push", reference, f"{file.name}:application/json")
    file.unlink()
    clients.oras("pull", reference)

    assert file.read_text() == content


def test_podman_fetches_only_the_changed_files_of_a_chunked_image(clients: Clients) -> None:
    """podman requests the ranges of several files in one request."""
    complete, changed = _pulls(clients.partial_pull("admin/chunked"))

    assert (complete["partial"], complete["missing"]) == (1, complete["of"])
    assert complete["received"] >= complete["of"]
    assert changed["partial"] == 1
    assert 0 < changed["missing"] < 0.1 * changed["of"]
    assert changed["received"] < 0.1 * complete["received"]


def _pulls(printed: str) -> list[dict[str, int]]:
    """Return the numbers that the client printed for each pull, by name."""
    lines = [line.split()[1:] for line in printed.splitlines() if " partial=" in line]
    return [
        {name: int(number) for name, _, number in (word.partition("=") for word in line)}
        for line in lines
    ]
