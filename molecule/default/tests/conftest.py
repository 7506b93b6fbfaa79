"""Fixtures for the registry of the scenario, its clients, database and machines."""

from collections.abc import Iterator
from pathlib import Path

import definition
import information
import psycopg2
import pytest
from clients import Clients
from definition import Lab
from site_machine import SiteMachine

_REPOSITORY = Path(__file__).resolve().parents[3]
INVENTORIES = (
    _REPOSITORY / "inventories/lab/hosts.yml",
    Path(__file__).resolve().parents[1] / "inventory/hosts.yml",
)


@pytest.fixture(scope="session")
def lab() -> Lab:
    return definition.read(INVENTORIES)


@pytest.fixture(scope="session")
def clients(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Clients:
    login = information.describe(lab)["registry"]
    return Clients(lab, login["username"], login["password"], tmp_path_factory.mktemp("clients"))


@pytest.fixture
def us(lab: Lab) -> SiteMachine:
    return SiteMachine(lab, lab.sites[0])


@pytest.fixture
def eu(lab: Lab) -> SiteMachine:
    return SiteMachine(lab, lab.sites[1])


@pytest.fixture
def database(lab: Lab) -> Iterator[psycopg2.extensions.connection]:
    connection = psycopg2.connect(information.describe(lab)["postgres"]["uri"])
    connection.autocommit = True
    yield connection
    connection.close()
