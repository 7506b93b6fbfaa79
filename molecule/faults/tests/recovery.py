"""The registry under test, and checks of its health and its data after a recovery."""

import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from balancer import sites_in_use
from clients import Clients
from commands import wait_until
from definition import Lab
from site_machine import SiteMachine
from traffic import Traffic, not_pullable

# Seconds within which a store starts, and the load balancer uses its site again.
_PATIENCE = 300


@dataclass(frozen=True)
class Registry:
    """Two sites behind a load balancer, with replicated images."""

    lab: Lab
    clients: Clients
    sites: list[SiteMachine]
    seeds: dict[str, str]

    def traffic(self, folder: Path, *others: SiteMachine) -> Traffic:
        """Return traffic through the load balancer and directly to other sites."""
        hosts = [self.clients.registry, *(site.address for site in others)]
        return Traffic(self.clients, folder, hosts, self.seeds)

    def wait_until_healthy(self) -> None:
        """Wait until the load balancer uses all sites and all sites are healthy."""
        wait_until(
            "the load balancer uses all sites",
            lambda: len(sites_in_use(self.lab)) == len(self.sites),
            seconds=_PATIENCE,
        )
        for site in self.sites:
            wait_until(
                f"the site of {site.location} is healthy",
                lambda site=site: site.health("endtoend") == HTTPStatus.OK,
                seconds=_PATIENCE,
            )

    def not_pullable(self, folder: Path, pushed: dict[str, str]) -> list[str]:
        """Return an error for each image that cannot be pulled by digest from a site."""
        return not_pullable(self.clients, folder, pushed, self.sites)

    def lost(self, folder: Path, pushed: dict[str, str]) -> list[str]:
        """Wait until all copies are made, and return the errors.

        Each pushed image must be pullable by digest from each site, and all copies must be good.
        """
        # Fails unless all required copies exist.
        self.sites[0].atoll("wait --timeout 600")
        errors = self.not_pullable(folder, pushed)
        verification = self.sites[0].attempt("podman exec atoll-registry atoll verify --full")
        if verification.returncode:
            errors.append(f"atoll verify --full: {verification.stdout}{verification.stderr}")
        return errors


def sustain(seconds: float) -> None:
    """Sleep, because the duration of a fault or of a load is part of the test."""
    time.sleep(seconds)
