"""podman pulls only changed files of a zstd:chunked image, with several ranges per request."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from ..integration.services import LABEL, OWNER, Services, owner_label
from .running import RunningImage, podman

CLIENTS = os.environ.get("ATOLL_TEST_CLIENTS", "localhost/atoll-clients:13")
# Of 200 files, five are different in the second version.
CHANGED = 5 / 200


def test_podman_pulls_only_the_changed_files(
    image: RunningImage, services: Services, tmp_path: Path
) -> None:
    address = _address(image, services)
    login = base64.b64encode(f"{image.username}:{image.password}".encode()).decode()
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {address: {"auth": login}}}))
    answer = podman(
        "run",
        "--rm",
        "--privileged",
        f"--label={LABEL}",
        f"--label={OWNER}={owner_label()}",
        f"--network={services.network}",
        f"--volume={tmp_path}:/login:ro",
        f"--volume={image.authority}:/authority.crt:ro",
        "--env=REGISTRY_AUTH_FILE=/login/auth.json",
        "--env=SSL_CERT_FILE=/authority.crt",
        CLIENTS,
        "partial-pull",
        f"{address}/{image.username}/chunked",
        "--tls-verify=false",
    )
    assert answer.returncode == 0, answer.stdout
    complete, changed = _pulls(answer.stdout)
    assert (complete["partial"], complete["missing"]) == (1, complete["of"])
    assert complete["received"] >= complete["of"]
    assert (changed["partial"], changed["missing"]) == (1, CHANGED * changed["of"])
    assert changed["received"] < 0.1 * complete["received"]


def _pulls(printed: str) -> list[dict[str, int]]:
    """Return the figures that the client reported for each pull."""
    lines = [line.split()[1:] for line in printed.splitlines() if " partial=" in line]
    return [
        {name: int(number) for name, _, number in (word.partition("=") for word in line)}
        for line in lines
    ]


def _address(image: RunningImage, services: Services) -> str:
    """Return the address of the registry in the network of the tests."""
    networks = image.container.attrs["NetworkSettings"]["Networks"]
    return f"{networks[services.network]['IPAddress']}:8080"
