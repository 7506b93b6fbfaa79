"""Run `atoll ...` in this process, with a site's objects instead of those of a bundle on disk."""

from __future__ import annotations

import io
from contextlib import ExitStack
from unittest.mock import patch

from atoll.cli import locations, loss, purge, removal
from atoll.cli.context import CommandContext
from atoll.cli.main import main
from atoll.cli.runner import run
from atoll.services import Services
from util.removelocation import remove

from .sites import MemorySite

_LOADERS = ("load_bundle", "load_bundle_to_administer", "load_bundle_for_stores")


class SiteContext(CommandContext):
    """Returns the services of a site in memory."""

    def __init__(self, site: MemorySite) -> None:
        self._site = site

    def services(self) -> Services:
        return self._site.graph

    def services_with_stores(self) -> Services:
        return self._site.graph

    def services_to_serve(self) -> Services:
        return self._site.graph


def run_command(site: MemorySite, *words: str) -> int:
    """Run `atoll WORDS` at SITE and return its exit code."""
    with ExitStack() as patches:
        for module in (locations, loss, purge, removal):
            patches.enter_context(patch.object(module, "wire_services", lambda _bundle: site.graph))
            for loader in _LOADERS:
                if hasattr(module, loader):
                    patches.enter_context(patch.object(module, loader, lambda: site.graph.bundle))
        return main(words, SiteContext(site))


def run_removelocation(site: MemorySite, location: str) -> int:
    """Run Quay's `python -m util.removelocation LOCATION`, answer yes, and return its exit code."""
    with patch("sys.stdin", io.StringIO("y\n")):
        return run(remove, [location], name="util.removelocation", context=SiteContext(site))
