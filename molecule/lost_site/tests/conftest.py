"""Fixtures for a registry of three sites, one of which is lost."""

from pathlib import Path

import definition
import pytest
from definition import Lab
from site_machine import SiteMachine
from two_sites import INVENTORIES, clients, eu, us

__all__ = ["clients", "eu", "us"]

_THIRD = Path(__file__).resolve().parents[1] / "inventory/third.yml"


@pytest.fixture(scope="session")
def lab() -> Lab:
    return definition.read((*INVENTORIES, _THIRD))


@pytest.fixture(scope="session")
def ap(lab: Lab) -> SiteMachine:
    return SiteMachine(lab, lab.sites[2])
