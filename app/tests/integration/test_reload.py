"""On SIGHUP a worker reads its bundle again and keeps its process id."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import yaml

from .services import wait_until
from .site import Client, Site

SLOW = {"REPLICATION_LIMITS": {"eustorage": {"bandwidth": "1M"}}}


def change_bundle(site: Site, change: Callable[[dict[str, Any]], object]) -> None:
    file = site.directory / "stack/config.yaml"
    keys = yaml.safe_load(file.read_text())
    change(keys)
    file.write_text(yaml.safe_dump(keys))


def start_worker(site: Site) -> int:
    """Start a worker and return its process id."""
    site.start_worker()
    site.wait_for_worker()
    assert site.worker is not None
    return site.worker.pid


def test_a_worker_applies_another_bundle_in_the_same_process(us: Site, eu: Site) -> None:
    change_bundle(eu, lambda keys: keys.update(SLOW))
    process = start_worker(eu)
    Client(us).push_blob("admin/app", os.urandom(1_000_000) * 24)
    wait_until(
        "a copy is in progress that takes half a minute",
        lambda: bool(
            us.services.database.read("SELECT 1 FROM replicationtask WHERE upload_id IS NOT NULL")
        ),
    )
    change_bundle(eu, lambda keys: keys.pop("REPLICATION_LIMITS"))
    reloaded = eu.command("reload")
    assert (reloaded.returncode, reloaded.stderr) == (0, "the new bundle is active\n")

    waited = us.command("wait", "--timeout", "30")
    assert waited.returncode == 0, waited.stderr
    assert eu.worker is not None
    assert (eu.worker.pid, eu.worker.poll()) == (process, None)
    instances = us.services.database.read("SELECT id FROM instance WHERE role = 'replication'")
    assert len(instances) == 1


def test_a_worker_refuses_an_invalid_bundle_and_keeps_its_own(us: Site, eu: Site) -> None:
    start_worker(eu)
    change_bundle(eu, lambda keys: keys.update({"DB_URI": "nowhere"}))
    refused = eu.command("reload")
    assert refused.returncode == 1
    assert "DB_URI" in refused.stderr
    assert "bundle refused" in (eu.directory / "worker.log").read_text()

    Client(us).push_blob("admin/app", b"pushed afterwards")
    waited = us.command("wait", "--timeout", "60")
    assert waited.returncode == 0, waited.stderr


def test_reload_is_refused_by_processes_that_cannot_reload(us: Site) -> None:
    asked = us.command("reload")
    assert asked.returncode == 1
    assert "no process in this container can reload its bundle" in asked.stderr
