"""Run `atoll ...` in this process, with a site's objects instead of those of a bundle on disk."""

from __future__ import annotations

import importlib
import io
from argparse import Namespace
from unittest.mock import patch

from atoll.cli.main import parser
from atoll.cli.run import run

from .sites import MemorySite

_LOADERS = ("load_bundle", "load_bundle_to_administer", "load_bundle_for_stores")


def run_command(site: MemorySite, *words: str) -> int:
    """Run `atoll WORDS` at SITE and return its exit status."""
    return _run(site, parser().parse_args(words))


def run_removelocation(site: MemorySite, location: str) -> int:
    """Run Quay's `python -m util.removelocation LOCATION`, answer yes, and return its status."""
    options = Namespace(run="util.removelocation:remove", location=location)
    with patch("sys.stdin", io.StringIO("y\n")):
        return _run(site, options)


def _run(site: MemorySite, options: Namespace) -> int:
    name = options.run.partition(":")[0]
    module = importlib.import_module(name)
    with patch.object(module, "wire_services", lambda _bundle: site.graph):
        loaders = [
            patch.object(module, loader, lambda: site.graph.bundle)
            for loader in _LOADERS
            if hasattr(module, loader)
        ]
        for loader in loaders:
            loader.start()
        try:
            return run(options)
        finally:
            for loader in loaders:
                loader.stop()
