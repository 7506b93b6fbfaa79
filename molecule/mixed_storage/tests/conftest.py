"""Fixtures for a registry of two sites with different kinds of stores."""

from pathlib import Path

import definition
import pytest
from definition import Lab
from two_sites import INVENTORIES, clients, eu, us

__all__ = ["clients", "eu", "us"]


@pytest.fixture(scope="session")
def lab() -> Lab:
    return definition.read(
        (*INVENTORIES, Path(__file__).resolve().parents[1] / "inventory/hosts.yml")
    )
