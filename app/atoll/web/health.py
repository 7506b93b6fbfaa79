"""`/health/instance` and `/health/endtoend`: answered from memory, in Quay's shape.

A load balancer asks end-to-end whether this site is whole: its preferred store, the database and
authentication. Instance is about this process group alone; a site whose store is down still serves
from the others, so a load balancer may fall back to it.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import falcon

from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.shared_redis import SharedRedis
from atoll.periodic import PeriodicThread, ThreadRegistry
from atoll.storage.locations import Locations

log = logging.getLogger(__name__)

_PROBE_SECONDS = 2.0
# Longer than the time-outs of the database, its replicas and Redis together.
_SILENCE_SECONDS = 120.0
# As Quay's DISKSPACE_HEALTH_THRESHOLD: the fraction of the disk that must be free.
_FREE_FRACTION = 0.01


class Vitals:
    """What is known of the database, Redis and the spool, probed in the background."""

    def __init__(
        self, database: Database, redis: SharedRedis, spool: Path, replicas: Sequence[Database] = ()
    ) -> None:
        self._database = database
        self._replicas = replicas
        self._redis = redis
        self._spool = spool
        # Nothing is healthy before it was seen to be.
        self.database = False
        self.auth = False
        # Pulls can go on although the database is away.
        self.replica = False
        self.redis = False
        self.disk_space = False
        self._probed = threading.Event()
        self._thread: PeriodicThread | None = None

    def start(self, registry: ThreadRegistry) -> None:
        """Probe in the background until `stop`."""
        self._thread = registry.repeat(
            "vitals", _PROBE_SECONDS, self._probe_and_notify, silence_seconds=_SILENCE_SECONDS
        )

    def probe(self) -> None:
        """Look at everything once."""
        alive = _answers(self._database)
        self.replica = not alive and any(_answers(replica) for replica in self._replicas)
        if alive is not self.database:
            log.log(logging.INFO if alive else logging.ERROR, "database", extra={"up": alive})
        self.database = self.auth = alive
        self.redis = self._redis.ping()
        if self.redis:
            self._redis.settle(database_available=alive)
        usage = shutil.disk_usage(self._spool)
        self.disk_space = usage.free > usage.total * _FREE_FRACTION

    def wait_for_first(self, seconds: float) -> None:
        """Wait until everything was looked at once, for at most SECONDS."""
        self._probed.wait(seconds)

    def stop(self) -> None:
        """Stop probing."""
        if self._thread is not None:
            self._thread.stop()

    def _probe_and_notify(self) -> None:
        self.probe()
        self._probed.set()


def _answers(database: Database) -> bool:
    try:
        database.run('SELECT 1 FROM "user" LIMIT 1')
    except DatabaseUnavailable:
        return False
    except Exception:
        log.exception("the database answers, but not as it should")
        return False
    return True


class _HealthResource:
    """Writes the answer; a subclass says what is asked, and which of it matters."""

    def services(self) -> dict[str, bool]:
        """Return each service and whether it is well."""
        raise NotImplementedError

    def tolerated(self) -> set[str]:
        """Return the services that may be ill without the whole being so."""
        return set()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 or 503, with the same number in the body."""
        del req
        services = self.services()
        well = all(services[name] for name in services.keys() - self.tolerated())
        status = 200 if well else 503
        resp.status = status
        resp.media = {"data": {"services": services}, "status_code": status}
        resp.set_header("Cache-Control", "no-cache")

    on_head = on_get


class InstanceHealth(_HealthResource):
    """`/health/instance`. The names of the services are Quay's, for the scripts that look there."""

    def __init__(self, vitals: Vitals, registry: ThreadRegistry) -> None:
        self._vitals = vitals
        self._registry = registry

    def services(self) -> dict[str, bool]:
        """Return what this instance needs to answer at all."""
        return {
            "auth": self._vitals.auth,
            "database": self._vitals.database,
            "disk_space": self._vitals.disk_space,
            # Its threads that answer requests are alive, as this request shows.
            "registry_gunicorn": not self._registry.silent(),
            "service_key": True,
            "web_gunicorn": True,
        }

    def tolerated(self) -> set[str]:
        """With a replica at hand pulls go on without the database."""
        return {"database", "auth"} if self._vitals.replica else set()


class EndToEndHealth(_HealthResource):
    """`/health/endtoend`. `storage` is the store that this site prefers."""

    def __init__(self, vitals: Vitals, locations: Locations) -> None:
        self._vitals = vitals
        self._locations = locations

    def services(self) -> dict[str, bool]:
        """Return what a push and a pull at this site go through."""
        preferred = self._locations.preference[0]
        return {
            "auth": self._vitals.auth,
            "database": self._vitals.database,
            "redis": self._vitals.redis,
            "storage": self._locations.health.state(preferred).whole,
        }

    def tolerated(self) -> set[str]:
        """Redis is a cache: without it everything works, slower."""
        return {"redis"}


class WorkerHealth(_HealthResource):
    """`/health/instance` of the replication worker."""

    def __init__(self, vitals: Vitals, alive: Callable[[], bool], registry: ThreadRegistry) -> None:
        self._vitals = vitals
        self._alive = alive
        self._registry = registry

    def services(self) -> dict[str, bool]:
        """Return what the worker needs."""
        return {
            "database": self._vitals.database,
            "replication": self._alive() and not self._registry.silent(),
        }
