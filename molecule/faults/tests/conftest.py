"""Fixtures for a registry of two sites, parts of which fail and recover."""

import os

import pytest
from balancer import sites_in_use
from clients import Clients
from commands import wait_until
from definition import Lab
from recovery import Registry
from site_machine import SiteMachine
from traffic import push_images
from two_sites import clients, eu, lab, us

__all__ = ["clients", "eu", "lab", "us"]


@pytest.fixture(scope="session")
def outage() -> float:
    """The duration of an outage in seconds."""
    return float(os.environ.get("ATOLL_TEST_FAULT_SECONDS", "300"))


@pytest.fixture(scope="session")
def registry(
    lab: Lab,
    clients: Clients,
    us: SiteMachine,
    eu: SiteMachine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Registry:
    """Both sites, with some images that are replicated."""
    wait_until("the load balancer uses both sites", lambda: len(sites_in_use(lab)) == 2)
    seeds = push_images(clients, tmp_path_factory.mktemp("seeds"), "admin/seeds", 3)
    us.atoll("wait --timeout 600")
    return Registry(lab, clients, [us, eu], seeds)
