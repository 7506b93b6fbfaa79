"""kubectl reads the directories that playbooks/kubernetes.yml renders."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from reference.pages import REPOSITORY

from ..integration.services import LABEL, OWNER, owner_label
from .running import podman
from .test_partial_pulls import CLIENTS

# The tests of the collection compare rendered files with these.
EXPECTED = REPOSITORY / "collection/tests/kubernetes"
KUSTOMIZATION = "kustomization.yaml"


def kustomize(directory: Path) -> tuple[int, str]:
    """Run `kubectl kustomize`, and return its exit status and its output."""
    done = podman(
        "run",
        "--rm",
        "--network=none",
        f"--label={LABEL}",
        f"--label={OWNER}={owner_label()}",
        f"--volume={directory}:/site:ro",
        CLIENTS,
        "kubectl",
        "kustomize",
        "/site",
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("site", ["us", "eu"])
def test_kubectl_builds_each_object_of_a_site_unchanged(site: str) -> None:
    status, output = kustomize(EXPECTED / site)
    assert status == 0, output
    built = list(yaml.safe_load_all(output))
    files = [path for path in (EXPECTED / site).glob("*.yaml") if path.name != KUSTOMIZATION]
    assert len(built) == len(files) > 0
    for path in files:
        assert yaml.safe_load(path.read_text()) in built, path


def test_kubectl_refuses_a_directory_with_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / KUSTOMIZATION).write_text((EXPECTED / "us" / KUSTOMIZATION).read_text())
    status, output = kustomize(tmp_path)
    assert status != 0
    assert "namespace.yaml" in output
