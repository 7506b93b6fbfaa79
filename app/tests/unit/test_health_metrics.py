"""Metrics of the health of an instance: services, the spool's disk, and the certificate."""

from __future__ import annotations

import shutil
from collections import namedtuple
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.shared_redis import SharedRedis
from atoll.server.heartbeat import HeartbeatThread
from atoll.storage.errors import StoreFull
from atoll.storage.health import StoreHealth
from atoll.web.health import HealthProbe
from prometheus_client import REGISTRY

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize("available", [True, False])
def test_probe_exports_whether_database_and_redis_are_available(
    tmp_path: Path, *, available: bool
) -> None:
    database, redis = Mock(spec=Database), Mock(spec=SharedRedis)
    if not available:
        database.run.side_effect = DatabaseUnavailable("refused")
    redis.ping.return_value = not available
    HealthProbe(database, redis, tmp_path).probe()
    assert REGISTRY.get_sample_value("atoll_service_up", {"service": "database"}) == available
    assert REGISTRY.get_sample_value("atoll_service_up", {"service": "redis"}) == (not available)


def test_probe_exports_the_free_space_of_the_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(1000, 930, 70))
    redis = Mock(spec=SharedRedis)
    redis.ping.return_value = True
    HealthProbe(Mock(spec=Database), redis, tmp_path).probe()
    assert REGISTRY.get_sample_value("atoll_spool_free_bytes") == 70
    assert REGISTRY.get_sample_value("atoll_spool_size_bytes") == 1000


def test_only_instances_that_serve_tls_export_the_expiry_of_a_certificate() -> None:
    HeartbeatThread(Mock(), "registry-tls", certificate_expires_at=datetime(2027, 1, 1, tzinfo=UTC))
    HeartbeatThread(Mock(), "registry-plain")

    def expiry(role: str) -> float | None:
        return REGISTRY.get_sample_value(
            "atoll_certificate_expiry_timestamp_seconds", {"role": role}
        )

    assert expiry("registry-tls") == 1798761600
    assert expiry("registry-plain") is None


def test_a_changed_state_of_a_store_is_recorded_at_once_and_a_new_latency_is_not() -> None:
    health, services = StoreHealth(["us"]), Mock()
    services.bundle.stores = ["us"]
    services.bundle.fingerprint = {}
    services.locations.health = health
    heartbeat = HeartbeatThread(services, "registry")
    recorded: list[int] = []
    for change in (
        lambda: None,
        lambda: health.end_probe("us", None),
        lambda: None,
        lambda: setattr(health._traces["us"], "usual_probe", 0.2),
        lambda: health.observe("us", StoreFull("us", "no space left"), write=True),
    ):
        change()
        heartbeat._record_if_due()
        recorded.append(services.database.run.call_count)
    assert recorded == [1, 2, 2, 2, 3]
