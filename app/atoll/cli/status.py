"""`atoll status`: which instances run, and whether all have the same bundle."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from atoll.cli import statuses
from atoll.cli.bundle import load_bundle
from atoll.cli.graph import Graph
from atoll.registry.instances import Instance, instances


def status(options: argparse.Namespace) -> int:
    """Print the instances; 0 if no bundle drifts from the others, 1 else."""
    found = instances(Graph(load_bundle()).database)
    if options.json:
        json.dump([asdict(instance) for instance in found], sys.stdout, default=str)
        sys.stdout.write("\n")
    else:
        _print_table(found)
    return statuses.FAILED if any(instance.drift for instance in found) else 0


def _print_table(found: list[Instance]) -> None:
    table = Table("preference", "role", "host", "version", "seen", "bundle")
    for instance in found:
        table.add_row(
            " ".join(instance.preference),
            instance.role,
            instance.hostname,
            instance.version,
            f"{instance.seen_seconds_ago:.0f} s ago",
            f"other {', '.join(instance.drift)}" if instance.drift else "as the others",
        )
    Console().print(table)
