"""Fixtures for a registry of two sites that a third site joins."""

from pathlib import Path

import definition
import pytest
from definition import Lab
from site_machine import SiteMachine
from two_sites import clients, eu, us

__all__ = ["clients", "eu", "us"]

_REPOSITORY = Path(__file__).resolve().parents[3]
_INVENTORIES = (
    _REPOSITORY / "inventories/lab/hosts.yml",
    _REPOSITORY / "molecule/add_site/inventory/before.yml",
    _REPOSITORY / "molecule/add_site/inventory/joining.yml",
)


@pytest.fixture(scope="session")
def lab() -> Lab:
    return definition.read(_INVENTORIES)


@pytest.fixture(scope="session")
def two_sites() -> Lab:
    """The registry before the third site is added to the inventory."""
    return definition.read(_INVENTORIES[:2])


@pytest.fixture(scope="session")
def ap(lab: Lab) -> SiteMachine:
    return SiteMachine(lab, lab.sites[2])


@pytest.fixture(scope="session")
def sites(us: SiteMachine, eu: SiteMachine, ap: SiteMachine) -> list[SiteMachine]:
    return [us, eu, ap]
