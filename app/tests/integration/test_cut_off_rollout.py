"""An interrupted roll-out can be resumed after the bundle was written and before the restart.

The container then still runs with its old environment, and its old preference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from atoll import exit_codes

from .services import Services
from .site import Site, bundle, running_site

DRAINED = "eustorage"


@pytest.fixture
def us(services: Services, database: str, tmp_path: Path) -> Iterator[Site]:
    """A site whose bundle lacks a location that its environment's preference names."""
    with running_site(services, database, tmp_path / "us", f"usstorage {DRAINED}") as site:
        raw = bundle(services, database)
        raw["DISTRIBUTED_STORAGE_CONFIG"] = {"usstorage": services.us.settings}
        for key in ("DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS", "DISTRIBUTED_STORAGE_PREFERENCE"):
            raw[key] = ["usstorage"]
        (site.directory / "stack/config.yaml").write_text(yaml.safe_dump(raw))
        yield site


@pytest.mark.parametrize(
    "words",
    [
        ("status", "--json"),
        ("locations", "--json"),
        ("backfill", "--dry-run", "--json"),
        ("drain", DRAINED, "--json"),
        ("verify", "--json"),
        ("migrate", "--dry-run", "--json"),
        ("lost", "--json"),
    ],
    ids=lambda words: words[0],
)
def test_a_command_works_with_a_warning(us: Site, words: tuple[str, ...]) -> None:
    ended = us.command(*words)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) is not None
    assert "unknown location in preference" in ended.stderr


@pytest.mark.parametrize("process", ["registry-nomigrate", "replication", "migrate"])
def test_no_process_starts_to_serve(us: Site, process: str) -> None:
    ended = us.command(process)
    assert ended.returncode == exit_codes.CONFIG
    assert "'eustorage' is not a location" in ended.stderr


def test_a_preference_of_unknown_locations_only_is_refused(us: Site) -> None:
    us.preference = "atlantis"
    ended = us.command("locations")
    assert ended.returncode == exit_codes.CONFIG
    assert "'atlantis' is not a location" in ended.stderr
