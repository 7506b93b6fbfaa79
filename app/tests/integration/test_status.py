"""Operators and monitoring see at a glance what runs, what is down and what is to be copied."""

from __future__ import annotations

import json

import pytest
from atoll.cluster.instances import Heartbeat
from atoll.placement.status import StatusReport, StatusReporter
from atoll.placement.tasks import Tasks
from atoll.placement.upkeep.lag import export_lag
from atoll.server.heartbeat import Announcer
from atoll.storage.errors import StoreRefused
from atoll.storage.health import StoreHealth
from prometheus_client import REGISTRY

from .services import Services, wait_until
from .site import Client, Site
from .test_api import Api, add_user

DATA = b"0123456789"


def status(site: Site, *words: str) -> tuple[int, dict[str, list[dict[str, object]]]]:
    result = site.command("status", "--json", *words)
    return result.returncode, json.loads(result.stdout)


def seen(site: Site) -> StatusReport:
    return StatusReporter(site.graph.database).report()


def test_all_is_well_where_instances_live_and_nothing_fails(us: Site) -> None:
    announcer = Announcer(us.graph, "registry")
    announcer.start()
    wait_until("it is announced", lambda: seen(us).instances != [])
    code, found = status(us)
    assert (code, found["problems"]) == (0, [])
    (instance,) = found["instances"]
    assert instance["stores"] == {
        name: {"up": True, "serves": True, "cause": None} for name in ("usstorage", "eustorage")
    }
    assert "usstorage" in us.command("status").stdout
    announcer.stop()
    assert seen(us).instances == []


@pytest.mark.long
def test_a_store_that_is_down_and_an_instance_that_is_missed_are_problems(
    us: Site, services: Services
) -> None:
    announcer = Announcer(us.graph, "replication")
    services.eu.container.pause()
    try:
        announcer.start()
        wait_until(
            "the dead store is told of",
            lambda: "finds the store of eustorage down" in str(seen(us).problems()),
        )
        assert status(us)[0] == 1
    finally:
        services.eu.container.unpause()
    wait_until("it is up again", lambda: seen(us).problems() == [])
    announcer.stop()
    announcer = Announcer(us.graph, "replication")
    announcer.start()
    wait_until("it is announced", lambda: seen(us).instances != [])
    us.graph.database.run("UPDATE instance SET seen_at = now() - interval '5 minutes'")
    code, found = status(us)
    assert code == 1
    assert "replication of usstorage eustorage was seen 3" in str(found["problems"])
    announcer.stop()


def test_lag_is_counted_from_the_tasks_also_those_of_an_older_version(us: Site) -> None:
    Client(us).push_blob("admin/app", DATA)
    us.graph.database.run(
        "UPDATE replicationtask SET image_size = NULL, created_at = now() - interval '1 hour'"
    )
    lag = {entry.location: entry for entry in seen(us).locations}
    assert (lag["eustorage"].pending_blobs, lag["eustorage"].pending_bytes) == (1, 10)
    assert lag["usstorage"].pending_blobs == 0
    assert seen(us).problems() == []
    code, found = status(us, "--max-lag", "600")
    assert code == 1
    assert "a copy to eustorage has been due for 36" in str(found["problems"])
    at_eu = Tasks(us.graph.database, "eustorage")
    (task,) = at_eu.claim()
    at_eu.release(task, "the store is full")
    assert "1 copies to eustorage failed last time: the store is full" in str(seen(us).problems())


def test_metrics_tell_the_lag_of_each_target(us: Site) -> None:
    Client(us).push_blob("admin/app", DATA)
    export_lag(us.graph.database)
    for name, value in (("pending_blobs", 1), ("pending_bytes", 10), ("failing_blobs", 0)):
        labels = {"location": "eustorage"}
        assert REGISTRY.get_sample_value(f"atoll_replication_{name}", labels) == value
    assert (
        REGISTRY.get_sample_value("atoll_replication_lag_seconds", {"location": "eustorage"})
        is not None
    )


def test_superusers_see_by_the_api_how_each_instance_sees_each_store(us: Site) -> None:
    health = StoreHealth(["usstorage", "eustorage"])
    health.probed("usstorage", None)
    health.probed("eustorage", StoreRefused("eustorage", "it answered 403"))
    Heartbeat(us.graph.database, us.graph.bundle, "registry", health).record()
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
def test_wait_for_everything_ends_when_nothing_is_missing_even_without_a_task(
    us: Site, eu: Site
) -> None:
    Client(us).push_blob("admin/app", DATA)
    us.graph.database.run("DELETE FROM replicationtask")
    waited = us.command("wait", "--timeout", "0")
    assert (waited.returncode, "eustorage lacks 1 blobs (10 bytes)" in waited.stderr) == (
        1,
        True,
    ), waited.stderr
    eu.start_worker()
    waited = us.command("wait", "--timeout", "60", "--json")
    assert waited.returncode == 0, waited.stderr
    assert json.loads(waited.stdout)["complete"] is True
