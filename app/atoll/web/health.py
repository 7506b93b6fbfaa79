"""`/health/instance` and `/health/endtoend`: health from memory, in Quay's format.

End-to-end health covers this site: its preferred store, the database and authentication. Instance
health covers this process group alone. A site whose store is unavailable still serves blobs from
other stores, so a load balancer may fall back to it.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import falcon
from prometheus_client import Gauge

from atoll.db.pool import Database, DatabaseUnavailable, SchemaOutdated
from atoll.db.shared_redis import SharedRedis
from atoll.periodic import PeriodicThread, ThreadRegistry
from atoll.storage.locations import Locations

log = logging.getLogger(__name__)

_PROBE_SECONDS = 2.0
# Longer than the time-outs of the database, its replicas and Redis added up.
_SILENCE_SECONDS = 120.0
# As Quay's DISKSPACE_HEALTH_THRESHOLD: the fraction of the disk that must be free.
_FREE_FRACTION = 0.01

SERVICE_UP = Gauge(
    "atoll_service_up",
    "1 if this process finds the service available: `database` (the primary) or `redis`",
    ["service"],
    multiprocess_mode="mostrecent",
)
SPOOL_FREE = Gauge(
    "atoll_spool_free_bytes",
    "Free bytes of the disk that holds the spool",
    multiprocess_mode="mostrecent",
)
SPOOL_SIZE = Gauge(
    "atoll_spool_size_bytes",
    "Size of the disk that holds the spool, in bytes",
    multiprocess_mode="mostrecent",
)


class HealthProbe:
    """The health of the database, Redis and the spool, probed in the background."""

    def __init__(
        self, database: Database, redis: SharedRedis, spool: Path, replicas: Sequence[Database] = ()
    ) -> None:
        self._database = database
        self._replicas = replicas
        self._redis = redis
        self._spool = spool
        # Unhealthy until the first probe succeeds.
        self.database = False
        self.auth = False
        # Whether a replica serves pulls while the database is unavailable.
        self.replica = False
        self.redis = False
        self.disk_space = False
        # The cause of the last failed probe if the schema is too old.
        self._outdated: str | None = None
        self._probed = threading.Event()
        self._thread: PeriodicThread | None = None

    def start(self, registry: ThreadRegistry) -> None:
        """Probe in the background until `stop`."""
        self._thread = registry.repeat(
            "health-probe", _PROBE_SECONDS, self._probe_and_notify, silence_seconds=_SILENCE_SECONDS
        )

    def probe(self) -> None:
        """Probe all services once."""
        available = self._is_database_available()
        self.replica = not available and any(_serves(replica) for replica in self._replicas)
        if available and not self.database:
            log.info("database available")
        elif self.database and not available:
            log.error("database unavailable")
        self.database = self.auth = available
        self.redis = self._redis.ping()
        if self.redis:
            self._redis.resume_reads(database_available=available)
        usage = shutil.disk_usage(self._spool)
        self.disk_space = usage.free > usage.total * _FREE_FRACTION
        SERVICE_UP.labels("database").set(self.database)
        SERVICE_UP.labels("redis").set(self.redis)
        SPOOL_FREE.set(usage.free)
        SPOOL_SIZE.set(usage.total)

    def wait_for_first(self, seconds: float) -> None:
        """Wait for the first probe, for at most the given seconds."""
        self._probed.wait(seconds)

    def stop(self) -> None:
        """Stop probing."""
        if self._thread is not None:
            self._thread.stop()

    def _is_database_available(self) -> bool:
        """Probe the database, and log when its schema is found to be too old."""
        outdated = None
        try:
            return _is_available(self._database)
        except SchemaOutdated as error:
            outdated = str(error)
            if outdated != self._outdated:
                log.error(error.event, extra={"cause": outdated})
            return False
        finally:
            self._outdated = outdated

    def _probe_and_notify(self) -> None:
        self.probe()
        self._probed.set()


def _serves(replica: Database) -> bool:
    try:
        return _is_available(replica)
    except SchemaOutdated:
        return False


def _is_available(database: Database) -> bool:
    """Return whether queries succeed.

    Raises:
        SchemaOutdated: The database lacks migrations.
    """
    try:
        database.run('SELECT 1 FROM "user" LIMIT 1')
    except SchemaOutdated:
        raise
    except DatabaseUnavailable:
        return False
    except Exception:
        log.exception("database probe failed")
        return False
    return True


class _HealthResource:
    """Base of the health resources; subclasses select the services and which are required."""

    def services(self) -> dict[str, bool]:
        """Return whether each service is healthy."""
        raise NotImplementedError

    def tolerated(self) -> set[str]:
        """Return the services that may be unhealthy while the result is healthy."""
        return set()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Return status 200 or 503, and repeat it in the body."""
        del req
        services = self.services()
        healthy = all(services[name] for name in services.keys() - self.tolerated())
        status = 200 if healthy else 503
        resp.status = status
        resp.media = {"data": {"services": services}, "status_code": status}
        resp.set_header("Cache-Control", "no-cache")

    on_head = on_get


class InstanceHealth(_HealthResource):
    """`/health/instance`. Services have Quay's names, because scripts read them."""

    def __init__(self, probe: HealthProbe, registry: ThreadRegistry) -> None:
        self._probe = probe
        self._registry = registry

    def services(self) -> dict[str, bool]:
        """Return the services that this instance needs to serve requests."""
        return {
            "auth": self._probe.auth,
            "database": self._probe.database,
            "disk_space": self._probe.disk_space,
            # The threads that serve requests are alive: one of them serves this request.
            "registry_gunicorn": not self._registry.silent(),
            "service_key": True,
            "web_gunicorn": True,
        }

    def tolerated(self) -> set[str]:
        """Tolerate an unavailable database while a replica serves pulls."""
        return {"database", "auth"} if self._probe.replica else set()


class EndToEndHealth(_HealthResource):
    """`/health/endtoend`. `storage` is the preferred store of this site."""

    def __init__(self, probe: HealthProbe, locations: Locations) -> None:
        self._probe = probe
        self._locations = locations

    def services(self) -> dict[str, bool]:
        """Return the services that a push or pull at this site uses."""
        preferred = self._locations.preference[0]
        return {
            "auth": self._probe.auth,
            "database": self._probe.database,
            "redis": self._probe.redis,
            "storage": self._locations.health.state(preferred).healthy,
        }

    def tolerated(self) -> set[str]:
        """Tolerate unavailable Redis: it is a cache, without which requests are slower."""
        return {"redis"}


class WorkerHealth(_HealthResource):
    """`/health/instance` of a worker: replication, unless another name is given."""

    def __init__(
        self,
        probe: HealthProbe,
        alive: Callable[[], bool],
        registry: ThreadRegistry,
        name: str = "replication",
    ) -> None:
        self._probe = probe
        self._name = name
        self._alive = alive
        self._registry = registry

    def services(self) -> dict[str, bool]:
        """Return the services that the worker needs, and whether it runs."""
        return {
            "database": self._probe.database,
            self._name: self._alive() and not self._registry.silent(),
        }
