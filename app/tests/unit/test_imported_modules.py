"""Processes import no packages that only other processes use."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Prints those of some packages of which a module is imported.
IMPORTED = """
import importlib, sys
importlib.import_module(sys.argv[1])
print([name for name in sys.argv[2:] if any(
    module == name or module.startswith(name + ".") for module in sys.modules)])
"""
WEB = ("atoll.web.api", "atoll.web.panel", "atoll.web.app", "jinja2")


@pytest.mark.parametrize(
    ("module", "unused"),
    [
        ("atoll.server.replication_process", WEB),
        ("atoll.server.mirror_process", WEB),
        ("atoll.server.maintenance_process", WEB),
        ("atoll.server.migration", WEB),
        ("atoll.server.web_process", ("atoll.cli", "click", "rich")),
        ("atoll.server.supervisor", ("atoll.config", "atoll.services", "prometheus_client")),
        ("atoll.server.registry_process", ("atoll.config", "atoll.services", "prometheus_client")),
        ("atoll.server.healthcheck", ("atoll.config", "click")),
    ],
)
def test_a_process_imports_no_packages_of_other_processes(
    module: str, unused: tuple[str, ...]
) -> None:
    imported = subprocess.run(
        [sys.executable, "-c", IMPORTED, module, *unused],
        capture_output=True,
        text=True,
        check=True,
    )
    assert imported.stdout.strip() == "[]"
