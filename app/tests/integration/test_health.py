"""Health for load balancers: the content, and the time until a fault is reported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from atoll.names import Digest
from atoll.storage.base import blob_key

from .clients import health
from .services import Services, wait_until
from .site import Client, Site, bundle


def test_a_healthy_site_is_reported_in_quays_format(us: Site) -> None:
    healthy = {"auth": True, "database": True, "redis": True, "storage": True}
    # If Redis answered late once on a busy machine, the next probe finds it available again.
    wait_until("the site is healthy", lambda: health(us, "endtoend") == (200, healthy))
    status, services = health(us, "instance")
    assert status == 200
    assert services.keys() == {
        "auth",
        "database",
        "disk_space",
        "registry_gunicorn",
        "service_key",
        "web_gunicorn",
    }


def test_a_dead_store_makes_only_its_own_site_unhealthy(
    us: Site, eu: Site, services: Services
) -> None:
    services.us.container.pause()
    try:
        wait_until("us is unhealthy", lambda: health(us, "endtoend")[0] == 503)
        assert health(us, "endtoend")[1]["storage"] is False
        assert health(us, "instance")[0] == 200
        assert health(eu, "endtoend")[0] == 200
    finally:
        services.us.container.unpause()
    wait_until("us is healthy again", lambda: health(us, "endtoend")[0] == 200)


def test_a_full_store_is_read_from_and_pushes_go_to_another_one(
    us: Site, services: Services
) -> None:
    client = Client(us)
    there = client.push_blob("admin/app", b"before")
    with services.us.fill_up():
        pushed = client.push_blob("admin/app", b"while it is full")
        assert us.locations.stores["eustorage"].size(blob_key(Digest.parse(pushed))) > 0
        for _ in range(3):
            assert client.pull_blob("admin/app", there).content == b"before"
        wait_until("us is unhealthy", lambda: health(us, "endtoend")[0] == 503)
        assert client.pull_blob("admin/app", there).content == b"before"
    wait_until("us is healthy again", lambda: health(us, "endtoend")[0] == 200)


def test_a_dead_database_makes_the_site_unhealthy_until_it_returns(
    us: Site, services: Services
) -> None:
    services.postgres.pause()
    try:
        wait_until("us is unhealthy", lambda: health(us, "endtoend")[0] == 503)
        assert health(us, "instance")[0] == 503
    finally:
        services.postgres.unpause()
    wait_until("us is healthy again", lambda: health(us, "endtoend")[0] == 200)


def test_a_site_without_redis_is_healthy(us: Site, services: Services) -> None:
    services.redis.pause()
    try:
        wait_until("the outage of Redis is noticed", lambda: not health(us, "endtoend")[1]["redis"])
        assert health(us, "endtoend")[0] == 200
    finally:
        services.redis.unpause()


def test_metrics_are_served_in_prometheus_format(us: Site) -> None:
    text = Client(us).session.get(f"{us.operations_url}/metrics").text
    assert "# TYPE atoll_http_requests_total counter" in text
    assert 'atoll_store_up{location="eustorage"} 1.0' in text


@pytest.mark.parametrize(
    ("command", "key", "value"),
    [
        ("registry", "SERVER_HOSTNAME", None),
        ("replication", "DISTRIBUTED_STORAGE_PREFERENCE", ["uss"]),
        ("migrate", "FEATURE_STORAGE_REPLICATION", "perhaps"),
    ],
)
def test_an_invalid_bundle_ends_a_process_with_a_message_that_names_the_key(
    us: Site, services: Services, tmp_path: Path, command: str, key: str, value: object
) -> None:
    wrong = {**bundle(services, "unused"), key: value}
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({k: v for k, v in wrong.items() if v is not None})
    )
    environment = us.environment() | {"ATOLL_BUNDLE_DIRECTORY": str(tmp_path)}
    del environment["QUAY_DISTRIBUTED_STORAGE_PREFERENCE"]
    ended = subprocess.run(
        [sys.executable, "-m", "atoll.cli.main", command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 78
    assert key in ended.stderr
    assert "Traceback" not in ended.stderr


def test_two_migrations_in_parallel_succeed(us: Site) -> None:
    us.services.database.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "atoll.cli.main", "migrate"],
            env=us.environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    ended = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], ended
    (count,) = us.services.database.read('SELECT count(*) FROM "user"')
    assert count[0] == 1
