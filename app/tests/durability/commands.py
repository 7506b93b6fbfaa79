"""Run `atoll` commands in this process, with the services of a site in memory."""

from __future__ import annotations

import io
from unittest.mock import patch

from atoll.cli.context import CommandContext
from atoll.cli.main import main
from atoll.cli.runner import run
from atoll.services import Services
from util.removelocation import remove

from .sites import MemorySite


class SiteContext(CommandContext):
    """Returns the services of a site in memory."""

    def __init__(self, site: MemorySite) -> None:
        self._site = site

    def services(self) -> Services:
        return self._site.graph

    def services_with_stores(self) -> Services:
        return self._site.graph

    def services_for_server(self) -> Services:
        return self._site.graph


def run_command(site: MemorySite, *words: str) -> int:
    """Run `atoll` with these arguments at `site` and return its exit code."""
    return main(words, SiteContext(site))


def run_removelocation(site: MemorySite, location: str) -> int:
    """Run Quay's `python -m util.removelocation`, answer yes, and return its exit code."""
    with patch("sys.stdin", io.StringIO("y\n")):
        return run(remove, [location], name="util.removelocation", context=SiteContext(site))
