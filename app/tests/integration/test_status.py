"""Status for operators and monitoring: instances, failed stores, and pending copies."""

from __future__ import annotations

import json

import pytest
from atoll.cluster.instances import Heartbeat
from atoll.config.fingerprint import combined
from atoll.placement.status import StatusReport, StatusReporter
from atoll.placement.tasks import Tasks
from atoll.placement.upkeep.lag import export_lag
from atoll.server.heartbeat import HeartbeatThread
from atoll.storage.errors import StoreRefused
from atoll.storage.health import StoreHealth
from prometheus_client import REGISTRY

from .clients import Api, add_user
from .services import Services, wait_until
from .site import Client, Site

DATA = b"0123456789"


def status(site: Site, *words: str) -> tuple[int, dict[str, list[dict[str, object]]]]:
    result = site.command("status", "--json", *words)
    return result.returncode, json.loads(result.stdout)


def report(site: Site) -> StatusReport:
    return StatusReporter(site.services.database).report()


def test_a_healthy_registry_has_no_problems(us: Site) -> None:
    heartbeat = HeartbeatThread(us.services, "registry")
    heartbeat.start()
    wait_until("the instance has sent a heartbeat", lambda: report(us).instances != [])
    code, found = status(us)
    assert (code, found["problems"]) == (0, [])
    (instance,) = found["instances"]
    assert instance["bundle"] == combined(us.services.bundle.fingerprint)
    for name in ("usstorage", "eustorage"):
        store = instance["stores"][name]
        assert (store["up"], store["serves"], store["cause"]) == (True, True, None)
        assert store["since"] is not None
    assert "usstorage" in us.command("status").stdout
    heartbeat.stop()
    assert report(us).instances == []


@pytest.mark.long
def test_an_unavailable_store_and_a_missing_instance_are_problems(
    us: Site, services: Services
) -> None:
    heartbeat = HeartbeatThread(us.services, "replication")
    services.eu.container.pause()
    try:
        heartbeat.start()
        wait_until(
            "the dead store is reported",
            lambda: "finds the store of eustorage down" in str(report(us).problems()),
        )
        assert status(us)[0] == 1
    finally:
        services.eu.container.unpause()
    wait_until("the store is available again", lambda: report(us).problems() == [])
    heartbeat.stop()
    heartbeat = HeartbeatThread(us.services, "replication")
    heartbeat.start()
    wait_until("the instance has sent a heartbeat", lambda: report(us).instances != [])
    us.services.database.run("UPDATE instance SET seen_at = now() - interval '5 minutes'")
    code, found = status(us)
    assert code == 1
    assert "replication of usstorage eustorage was seen 3" in str(found["problems"])
    heartbeat.stop()


def test_lag_is_computed_from_tasks_including_those_of_an_older_version(us: Site) -> None:
    Client(us).push_blob("admin/app", DATA)
    us.services.database.run(
        "UPDATE replicationtask SET image_size = NULL, created_at = now() - interval '1 hour'"
    )
    lag = {entry.location: entry for entry in report(us).locations}
    assert (lag["eustorage"].pending_blobs, lag["eustorage"].pending_bytes) == (1, 10)
    assert lag["usstorage"].pending_blobs == 0
    assert report(us).problems() == []
    code, found = status(us, "--max-lag", "600")
    assert code == 1
    assert "a copy to eustorage has been due for 36" in str(found["problems"])
    at_eu = Tasks(us.services.database, "eustorage")
    (task,) = at_eu.claim()
    at_eu.release(task, "the store is full")
    assert "1 copies to eustorage failed last time: the store is full" in str(report(us).problems())


def test_metrics_contain_the_lag_of_each_target(us: Site) -> None:
    Client(us).push_blob("admin/app", DATA)
    export_lag(us.services.database)
    for name, value in (("pending_blobs", 1), ("pending_bytes", 10), ("failing_blobs", 0)):
        labels = {"location": "eustorage"}
        assert REGISTRY.get_sample_value(f"atoll_replication_{name}", labels) == value
    assert (
        REGISTRY.get_sample_value("atoll_replication_lag_seconds", {"location": "eustorage"})
        is not None
    )


def test_superusers_read_by_the_api_how_each_instance_reaches_each_store(us: Site) -> None:
    health = StoreHealth(["usstorage", "eustorage"])
    health.end_probe("usstorage", None)
    health.end_probe("eustorage", StoreRefused("eustorage", "it answered 403"))
    Heartbeat(us.services.database, us.services.bundle, "registry", health).record()
    superuser = Api(us)
    found = superuser.call("GET", "superuser/health")
    stores = {entry["location"]: entry for entry in found["locations"]}
    (sight,) = stores["eustorage"]["seen_by"]
    assert (sight["role"], sight["preference"]) == ("registry", ["usstorage", "eustorage"])
    assert (sight["up"], sight["serves"], sight["cause"]) == (False, False, "it answered 403")
    assert stores["usstorage"]["seen_by"][0]["up"] is True
    assert stores["eustorage"]["down_at"] == [sight["hostname"]]
    assert "finds the store of eustorage down: it answered 403" in str(found["problems"])
    add_user(superuser, "alice").call("GET", "superuser/health", status=403)


@pytest.mark.long
def test_waiting_for_everything_ends_when_no_copy_is_missing_even_without_a_task(
    us: Site, eu: Site
) -> None:
    Client(us).push_blob("admin/app", DATA)
    us.services.database.run("DELETE FROM replicationtask")
    waited = us.command("wait", "--timeout", "0")
    assert (waited.returncode, "eustorage lacks 1 blobs (10 bytes)" in waited.stderr) == (
        1,
        True,
    ), waited.stderr
    eu.start_worker()
    waited = us.command("wait", "--timeout", "60", "--json")
    assert waited.returncode == 0, waited.stderr
    assert json.loads(waited.stdout)["complete"] is True
