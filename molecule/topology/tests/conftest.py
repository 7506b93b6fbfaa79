"""Fixtures for the example's topology: regions with several hosts and load balancers."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import definition
import information
import pytest
from clients import Clients
from definition import Lab
from load import Load

_INVENTORY = Path(__file__).resolve().parents[3] / ".cache/topology-inventory"
INVENTORIES = (_INVENTORY / "hosts.yml", _INVENTORY / "machines.yml")
# How often a client repeats a request that failed, with increasing pauses.
RETRIES = 5


@pytest.fixture(scope="session")
def lab() -> Lab:
    return definition.read(INVENTORIES)


@pytest.fixture(scope="session")
def lab_with_host() -> Lab:
    """The inventory after a third host of site us was added."""
    return definition.read((*INVENTORIES, _INVENTORY / "joining_host.yml"))


@pytest.fixture(scope="session")
def lab_with_site() -> Lab:
    """The inventory after a third site with its own load balancer was added."""
    return definition.read((*INVENTORIES, _INVENTORY / "joining_site.yml"))


class RegionalLoads:
    """A load in each region, which uses the region's floating address."""

    def __init__(self, loads: dict[str, Load]) -> None:
        self._loads = loads

    @property
    def pulls(self) -> int:
        """The number of pulls in the region with the fewest."""
        return min(load.pulls for load in self._loads.values())

    @property
    def failures(self) -> list[str]:
        return [
            f"{region}: {failure}"
            for region, load in self._loads.items()
            for failure in load.failures
        ]


@pytest.fixture(scope="session")
def clients(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clients]:
    """The clients of each region."""
    login = information.describe(lab)["registry"]
    return {
        balancer.site: Clients(
            lab,
            login["username"],
            login["password"],
            tmp_path_factory.mktemp(f"clients-{balancer.site}"),
            registry=balancer.floating_address,
        )
        for balancer in lab.load_balancers
    }


@pytest.fixture
def loads(
    clients: dict[str, Clients], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[RegionalLoads]:
    """Push and pull in both regions during the test."""
    with _running(clients, tmp_path, request.function.__name__) as loads:
        yield loads


@contextmanager
def _running(clients: dict[str, Clients], folder: Path, name: str) -> Iterator[RegionalLoads]:
    with ExitStack() as stack:
        loads = {}
        for region, regional in clients.items():
            (folder / region).mkdir()
            repository = f"admin/{name}-{region}"
            load = Load(regional, folder / region, repository, retries=RETRIES)
            loads[region] = stack.enter_context(load)
        yield RegionalLoads(loads)
