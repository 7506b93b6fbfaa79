"""Fixtures for a registry of two sites whose stores are unreachable for clients."""

import ipaddress
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import definition
import pytest
from definition import Lab, Store
from two_sites import INVENTORIES, clients, eu, us
from unreachable import unreachable_from

__all__ = ["clients", "eu", "us"]


@pytest.fixture(scope="session")
def lab() -> Lab:
    return definition.read(
        (*INVENTORIES, Path(__file__).resolve().parents[1] / "inventory/hosts.yml")
    )


@pytest.fixture(scope="session", autouse=True)
def hidden_stores(lab: Lab) -> Iterator[list[Store]]:
    """Make the stores unreachable from the gateway of the network, the clients' address."""
    gateway = str(next(ipaddress.ip_network(lab.subnet).hosts()))
    with ExitStack() as stack:
        for store in lab.stores:
            stack.enter_context(unreachable_from(store, gateway))
        yield lab.stores
