"""No acknowledged push is lost when PostgreSQL restarts, or Redis fails or loses its data."""

import time
from pathlib import Path

import information
import pytest
import redis
from commands import run, succeeds, wait_until
from definition import Lab
from recovery import Registry, sustain

# Seconds of load between two faults.
_BETWEEN = 10


@pytest.fixture
def service_host(lab: Lab) -> list[str]:
    """The command that runs another command as root on the host of the shared services."""
    return [*lab.ssh(lab.shared[0]), "sudo"]


@pytest.mark.parametrize(
    "how",
    ["systemctl restart atoll-postgres", "podman kill --signal=KILL atoll-postgres"],
    ids=["restarted", "killed"],
)
def test_the_registry_recovers_without_data_loss_when_postgresql_restarts(
    registry: Registry, service_host: list[str], tmp_path: Path, how: str
) -> None:
    with registry.traffic(tmp_path) as traffic:
        wait_until("clients push and pull", traffic.works)
        stopped = time.time()
        run([*service_host, how])
        sustain(_BETWEEN)
        registry.wait_until_healthy()
        recovered = time.time()
        sustain(_BETWEEN)

    # Requests may fail only while the database is unavailable.
    failed = [one for one in traffic.failures() if one.ended < stopped or one.began > recovered]
    assert list(map(str, failed)) == []
    assert traffic.pulled(recovered) > 0
    assert registry.lost(tmp_path, traffic.pushed) == []


def test_clients_see_no_failure_when_redis_fails(
    registry: Registry, service_host: list[str], tmp_path: Path
) -> None:
    with registry.traffic(tmp_path) as traffic:
        wait_until("clients push and pull", traffic.works)
        for how in ("podman kill --signal=KILL atoll-redis", "podman pause atoll-redis"):
            run([*service_host, how])
            sustain(_BETWEEN)
        # The command fails if the health check has already restarted the container.
        succeeds([*service_host, "podman unpause atoll-redis"])
        sustain(_BETWEEN)

    assert list(map(str, traffic.failures())) == []
    assert registry.lost(tmp_path, traffic.pushed) == []


def test_clients_see_no_failure_when_redis_loses_its_data(
    lab: Lab, registry: Registry, tmp_path: Path
) -> None:
    cache = redis.Redis.from_url(information.describe(lab)["redis"]["uri"])
    with registry.traffic(tmp_path) as traffic:
        wait_until("clients push and pull", traffic.works)
        for _ in range(100):
            cache.flushall()
            sustain(_BETWEEN / 100)

    assert list(map(str, traffic.failures())) == []
    assert registry.lost(tmp_path, traffic.pushed) == []
