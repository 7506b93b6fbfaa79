"""The registry as a whole: its people, and whether all is well again after something came back."""

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

# Seconds. The longest that a store takes to start, and its site to be used again.
_PATIENCE = 300


@dataclass(frozen=True)
class Registry:
    """Two sites behind a load balancer, and images that are at both."""

    lab: Lab
    clients: Clients
    sites: list[SiteMachine]
    seeds: dict[str, str]

    def traffic(self, folder: Path, *others: SiteMachine) -> Traffic:
        """Let people work through the load balancer and, past it, at OTHERS."""
        hosts = [self.clients.registry, *(site.address for site in others)]
        return Traffic(self.clients, folder, hosts, self.seeds)

    def wait_until_whole(self) -> None:
        """Wait until every site is used again; nobody lends a hand."""
        wait_until(
            "the load balancer uses every site",
            lambda: len(sites_in_use(self.lab)) == len(self.sites),
            seconds=_PATIENCE,
        )
        for site in self.sites:
            wait_until(
                f"{site.location} is whole for its site",
                lambda site=site: site.health("endtoend") == HTTPStatus.OK,
                seconds=_PATIENCE,
            )

    def not_pullable(self, folder: Path, pushed: dict[str, str]) -> list[str]:
        """Return what cannot be pulled by digest, or has other bytes, from each site."""
        return not_pullable(self.clients, folder, pushed, self.sites)

    def lost(self, folder: Path, pushed: dict[str, str]) -> list[str]:
        """Return what is not as it must be, once every copy was made.

        All that was PUSHED is pullable by digest from every site, and no copy is wrong.
        """
        # Fails unless everything is where it must be: no lag is left.
        self.sites[0].atoll("wait --timeout 600")
        complaints = self.not_pullable(folder, pushed)
        verification = self.sites[0].attempt("podman exec atoll-registry atoll verify --full")
        if verification.returncode:
            complaints.append(f"atoll verify --full: {verification.stdout}{verification.stderr}")
        return complaints


def stay(seconds: float) -> None:
    """Leave things as they are for so long: how long something is away is part of the test."""
    time.sleep(seconds)
