"""Runs of mirrors, started and read at a site as an operator does."""

import json
from typing import Any

from site_machine import SiteMachine

_TIMEOUT = 300


def run_mirror(site: SiteMachine, name: str) -> dict[str, Any]:
    """Request a run, wait until it succeeded, and return it. Raises LabError."""
    site.atoll(f"mirror sync {name} --wait --timeout {_TIMEOUT}")
    return last_run(site, name)


def last_run(site: SiteMachine, name: str) -> dict[str, Any]:
    """Return the last run of a mirror."""
    runs: list[dict[str, Any]] = json.loads(site.atoll(f"mirror runs {name} --limit 1 --json"))
    return runs[0]
