"""Fixtures for a registry of two sites, and for the two registries that it mirrors."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import definition
import information
import psycopg2
import pytest
from clients import Clients
from commands import REPOSITORY
from definition import Lab
from docker_upstream import DockerUpstream
from playbook import Outcome, run_playbook
from site_machine import SiteMachine
from two_sites import INVENTORIES, clients, eu, us

__all__ = ["clients", "eu", "us"]

_SCENARIO = REPOSITORY / "molecule/mirroring/inventory"


@pytest.fixture(scope="session")
def lab() -> Lab:
    return definition.read((*INVENTORIES, _SCENARIO / "hosts.yml"))


@pytest.fixture(scope="session")
def upstream_lab() -> Lab:
    """Return the definition of the second registry."""
    inventories = (REPOSITORY / "inventories/single/hosts.yml", _SCENARIO / "upstream.yml")
    return definition.read(inventories)


@pytest.fixture(scope="session")
def upstream_host(upstream_lab: Lab) -> SiteMachine:
    return SiteMachine(upstream_lab, upstream_lab.sites[0])


@pytest.fixture(scope="session")
def upstream(upstream_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Clients:
    """Return clients of the second registry, of its superuser."""
    login = information.describe(upstream_lab)["registry"]
    folder = tmp_path_factory.mktemp("upstream")
    return Clients(upstream_lab, login["username"], login["password"], folder)


@pytest.fixture(scope="session")
def docker(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerUpstream]:
    registry = DockerUpstream(lab, tmp_path_factory.mktemp("docker"))
    with registry.running():
        yield registry


Apply = Callable[..., Outcome]


@pytest.fixture(scope="session")
def apply(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Apply:
    """Return a function that applies mirrors with the playbook."""
    folder = tmp_path_factory.mktemp("playbook")

    def run(*mirrors: dict[str, object], words: tuple[str, ...] = ()) -> Outcome:
        outcome = run_playbook("mirrors", lab, folder, *words, registry_mirrors=list(mirrors))
        assert outcome.status == 0, outcome.output
        return outcome

    return run


@pytest.fixture
def database(lab: Lab) -> Iterator[Any]:
    connection = psycopg2.connect(information.describe(lab)["postgres"]["uri"])
    connection.autocommit = True
    yield connection
    connection.close()


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """Return the directory of an OCI layout."""
    return tmp_path / "layout"
