"""Fixtures for the machines and clients of scenarios with two sites."""

from pathlib import Path

import definition
import information
import pytest
from clients import Clients
from definition import Lab
from site_machine import SiteMachine

_REPOSITORY = Path(__file__).resolve().parents[3]
INVENTORIES = (
    _REPOSITORY / "inventories/lab/hosts.yml",
    _REPOSITORY / "molecule/default/inventory/hosts.yml",
)


@pytest.fixture(scope="session")
def lab() -> Lab:
    return definition.read(INVENTORIES)


@pytest.fixture(scope="session")
def clients(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Clients:
    login = information.describe(lab)["registry"]
    return Clients(lab, login["username"], login["password"], tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="session")
def us(lab: Lab) -> SiteMachine:
    return SiteMachine(lab, lab.sites[0])


@pytest.fixture(scope="session")
def eu(lab: Lab) -> SiteMachine:
    return SiteMachine(lab, lab.sites[1])
