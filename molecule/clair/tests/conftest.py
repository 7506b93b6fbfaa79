"""Fixtures for a registry of two sites, each with a Clair."""

import base64
import time
from typing import Any

import definition
import jwt
import pytest
import requests
from commands import REPOSITORY
from definition import Lab
from playbook import run_site
from rows import database
from site_machine import SiteMachine
from two_sites import INVENTORIES, clients, eu, us

__all__ = ["clients", "database", "eu", "us"]


@pytest.fixture(scope="session")
def lab() -> Lab:
    return definition.read((*INVENTORIES, REPOSITORY / "molecule/clair/inventory/hosts.yml"))


@pytest.fixture(scope="session")
def key(lab: Lab) -> str:
    """Return the key that the inventory generated."""
    return (lab.state / "secrets/clair_psk").read_text().partition(" ")[0].strip()


@pytest.fixture(scope="session")
def scanning(lab: Lab, key: str) -> dict[str, Any]:
    """Return a bundle with which both sites scan."""
    return lab.bundle | {
        "FEATURE_SECURITY_SCANNER": True,
        "SCANNER_ENDPOINTS": {
            site.location: f"http://{site.machine.address}:6060" for site in lab.sites
        },
        "SECURITY_SCANNER_V4_PSK": key,
        "SECURITY_SCANNER_INDEXING_INTERVAL": 5,
        "FEATURE_SECURITY_NOTIFICATIONS": True,
    }


@pytest.fixture(scope="session")
def scanning_sites(
    lab: Lab, scanning: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Roll out the bundle with which both sites scan."""
    folder = tmp_path_factory.mktemp("scanning")
    outcome = run_site(lab, folder, registry_config=scanning)
    assert outcome.status == 0, outcome.output


def indexer_status(machine: SiteMachine, key: str) -> int:
    """Return the status with which the Clair of a machine answers a request signed with a key."""
    now = int(time.time())
    claims = {"iss": "quay", "iat": now, "exp": now + 60}
    token = jwt.encode(claims, base64.b64decode(key), algorithm="HS256")
    answer = requests.get(
        f"http://{machine.address}:6060/indexer/api/v1/index_state",
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )
    return answer.status_code
