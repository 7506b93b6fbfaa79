"""The registry of two sites whose stores no client reaches, for the tests."""

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
    """Let no client reach a store; the tests' clients have the address of the network's gateway."""
    gateway = str(next(ipaddress.ip_network(lab.subnet).hosts()))
    with ExitStack() as stack:
        for store in lab.stores:
            stack.enter_context(unreachable_from(store, gateway))
        yield lab.stores
