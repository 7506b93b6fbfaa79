"""Signatures and bills of materials are mirrored, from the referrers API and from tags."""

import json
from pathlib import Path

import pytest
from clients import Clients
from conftest import Apply
from docker_upstream import DockerUpstream
from load import copy, write_image
from mirror_runs import run_mirror
from site_machine import SiteMachine

_SBOM = "application/vnd.example.sbom"


def _sign(clients: Clients, image: str) -> Path:
    """Sign an image with a new key as cosign does by default, and return the public key."""
    clients.cosign("generate-key-pair", "--output-key-prefix=key")
    signing = ("--tlog-upload=false", "--yes", "--registry-referrers-mode=legacy")
    clients.cosign("sign", *signing, "--key=key.key", image)
    return clients.folder / "key.pub"


def _attach(clients: Clients, image: str) -> None:
    """Attach a bill of materials to an image."""
    (clients.folder / "sbom.json").write_text('{"bomFormat": "CycloneDX"}')
    clients.oras("attach", "--artifact-type", _SBOM, image, "sbom.json:application/json")


def _attached(clients: Clients, image: str) -> list[str]:
    """Return the types of the referrers of an image."""
    found = json.loads(clients.oras("discover", "--format=json", image))
    return sorted(entry["artifactType"] for entry in found["manifests"])


@pytest.fixture(params=["another Atoll", "docker-registry"])
def source(
    request: pytest.FixtureRequest,
    upstream: Clients,
    docker: DockerUpstream,
    apply: Apply,
) -> tuple[Clients, str, str]:
    """Return the clients of an upstream, its repository, and the mirror of that."""
    if request.param == "another Atoll":
        # The inventory has this mirror.
        return upstream, f"{upstream.registry}/admin/tools", "mirrored/tools"
    apply(docker.mirror("mirrored/signed", "team/signed"))
    return docker.clients, f"{docker.address}/team/signed", "mirrored/signed"


def test_a_mirrored_image_has_its_signature_and_its_bill_of_materials(
    source: tuple[Clients, str, str], clients: Clients, us: SiteMachine, layout: Path
) -> None:
    there, repository, mirror = source
    digest = write_image(layout)
    assert not copy(there, f"oci:{layout}:1", f"docker://{repository}:1")
    key = _sign(there, f"{repository}@{digest}")
    _attach(there, f"{repository}@{digest}")

    done = run_mirror(us, mirror)

    assert (done["outcome"], done["tags_failed"]) == ("SUCCESS", 0)
    here = f"{clients.registry}/{mirror}@{digest}"
    assert _attached(clients, here) == [_SBOM]
    (clients.folder / "mirrored.pub").write_text(key.read_text())
    clients.cosign("verify", "--insecure-ignore-tlog=true", "--key=mirrored.pub", here)
