"""Fixtures for a registry on one machine, and its clients."""

from pathlib import Path

import definition
import information
import pytest
from clients import Clients
from definition import Lab
from site_machine import SiteMachine

INVENTORY = Path(__file__).resolve().parents[3] / "inventories/single/hosts.yml"


@pytest.fixture(scope="session")
def lab() -> Lab:
    return definition.read([INVENTORY])


@pytest.fixture(scope="session")
def clients(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Clients:
    login = information.describe(lab)["registry"]
    return Clients(lab, login["username"], login["password"], tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="session")
def machine(lab: Lab) -> SiteMachine:
    return SiteMachine(lab, lab.sites[0])
