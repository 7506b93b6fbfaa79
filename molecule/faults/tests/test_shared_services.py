"""PostgreSQL restarts, Redis dies or forgets everything: no push that was acknowledged is lost."""

import time
from pathlib import Path

import information
import pytest
import redis
from commands import run, succeeds, wait_until
from definition import Lab
from recovery import Registry, stay

# Seconds of work between two of the same.
_BETWEEN = 10


@pytest.fixture
def service_host(lab: Lab) -> list[str]:
    """The words that run a command as root where the shared services are."""
    return [*lab.ssh(lab.shared[0]), "sudo"]


@pytest.mark.parametrize(
    "how",
    ["systemctl restart atoll-postgres", "podman kill --signal=KILL atoll-postgres"],
    ids=["restarted", "killed"],
)
def test_nothing_is_lost_and_nobody_has_to_lend_a_hand_when_postgresql_restarts(
    registry: Registry, service_host: list[str], tmp_path: Path, how: str
) -> None:
    with registry.traffic(tmp_path) as traffic:
        wait_until("people are at work", traffic.works)
        away = time.time()
        run([*service_host, how])
        stay(_BETWEEN)
        registry.wait_until_whole()
        back = time.time()
        stay(_BETWEEN)

    # Without the database, clients are told to come again; before and after it they need not.
    failed = [one for one in traffic.failures() if one.ended < away or one.began > back]
    assert list(map(str, failed)) == []
    assert traffic.pulled(back) > 0
    assert registry.lost(tmp_path, traffic.pushed) == []


def test_nobody_notices_that_redis_dies(
    registry: Registry, service_host: list[str], tmp_path: Path
) -> None:
    with registry.traffic(tmp_path) as traffic:
        wait_until("people are at work", traffic.works)
        for how in ("podman kill --signal=KILL atoll-redis", "podman pause atoll-redis"):
            run([*service_host, how])
            stay(_BETWEEN)
        # Unless its own health check has had it started anew.
        succeeds([*service_host, "podman unpause atoll-redis"])
        stay(_BETWEEN)

    assert list(map(str, traffic.failures())) == []
    assert registry.lost(tmp_path, traffic.pushed) == []


def test_nobody_notices_that_redis_forgets_everything(
    lab: Lab, registry: Registry, tmp_path: Path
) -> None:
    cache = redis.Redis.from_url(information.describe(lab)["redis"]["uri"])
    with registry.traffic(tmp_path) as traffic:
        wait_until("people are at work", traffic.works)
        for _ in range(100):
            cache.flushall()
            stay(_BETWEEN / 100)

    assert list(map(str, traffic.failures())) == []
    assert registry.lost(tmp_path, traffic.pushed) == []
