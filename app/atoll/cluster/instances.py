"""Heartbeats of instances: host, version, bundle, and the health of each store as they see it."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import atoll
from atoll.config import Bundle
from atoll.config.fingerprint import combined
from atoll.db.pool import Database
from atoll.storage.health import StoreHealth
from atoll.storage.observations import observe_store

# Seconds between two heartbeats.
HEARTBEAT_INTERVAL = 30
# Seconds without a heartbeat after which an instance counts as lost.
LOST_SECONDS = 3 * HEARTBEAT_INTERVAL
# Hours after which a lost instance is deleted.
RETENTION_HOURS = 24

# Record a heartbeat, and delete instances that were lost long ago.
_RECORD = """
INSERT INTO instance (id, role, hostname, version, preference, bundle_fingerprint, stores,
                      certificate_expires_at)
VALUES (%(id)s, %(role)s, %(hostname)s, %(version)s, %(preference)s, %(fingerprint)s, %(stores)s,
        %(certificate_expires_at)s)
ON CONFLICT (id) DO UPDATE SET seen_at = now(), stores = EXCLUDED.stores,
                               certificate_expires_at = EXCLUDED.certificate_expires_at;
DELETE FROM instance WHERE seen_at < now() - make_interval(hours => %(hours)s)
"""

_LIST = """
SELECT role, hostname, version, preference, bundle_fingerprint, started_at,
       extract(epoch FROM now() - seen_at)::float, stores, certificate_expires_at
FROM instance WHERE seen_at > now() - make_interval(hours => %(hours)s)
ORDER BY preference, role, hostname, seen_at DESC
"""

_DELETE = "DELETE FROM instance WHERE id = %s"
_DELETE_SITE = "DELETE FROM instance WHERE preference[1] = %s"


@dataclass(frozen=True)
class Instance:
    """An instance of the registry.

    Attributes:
        role: `registry`, `replication`, `mirror` or `housekeeping`.
        preference: the locations of its site, nearest first.
        drift: keys of its bundle that differ from those of most instances.
        stores: for each location its store as of `observe_store`; earlier versions record only
            `up`, `serves` and `cause`.
        lost: its heartbeats stopped, and no other instance of its site has the same role.
        certificate_expires_at: the end of the certificate that it serves TLS with; None if it
            serves none, and for an earlier version.
        bundle: the fingerprint of its bundle, which is equal for equal bundles.
    """

    role: str
    hostname: str
    version: str
    preference: list[str]
    started_at: datetime
    seen_seconds_ago: float
    drift: list[str]
    stores: dict[str, dict[str, Any]]
    lost: bool
    certificate_expires_at: datetime | None = None
    bundle: str = ""


@dataclass(frozen=True)
class Reachability:
    """Whether running instances can read from a store.

    Attributes:
        reachable_from: hosts that can.
        unreachable_from: hosts that cannot, each with the cause.
    """

    reachable_from: list[str]
    unreachable_from: dict[str, str]

    @property
    def unreachable(self) -> bool:
        """Whether there are reports on the store, and no instance can read from it."""
        return bool(self.unreachable_from) and not self.reachable_from


class Heartbeat:
    """Record the heartbeats of one instance.

    Args:
        identifier: the id of the instance, which all its processes share; a new one if None.
        certificate_expires_at: the end of its certificate, None if it serves none.
    """

    def __init__(
        self,
        database: Database,
        bundle: Bundle,
        role: str,
        health: StoreHealth,
        identifier: UUID | None = None,
        *,
        certificate_expires_at: datetime | None = None,
    ) -> None:
        self._database = database
        self._id: UUID = identifier or uuid4()
        self._bundle = bundle
        self._role = role
        self._health = health
        self._certificate_expires_at = certificate_expires_at

    def stores(self) -> dict[str, dict[str, Any]]:
        """Return the health of each store, as this process sees it."""
        return {name: observe_store(self._health, name) for name in self._bundle.stores}

    def record(self) -> None:
        """Record that the instance runs, and the health of each store."""
        self._database.run(
            _RECORD,
            {
                "id": self._id,
                "role": self._role,
                "hostname": socket.gethostname(),
                "version": atoll.__version__,
                "preference": self._bundle.preference,
                "fingerprint": json.dumps(self._bundle.fingerprint),
                "stores": json.dumps(self.stores()),
                "certificate_expires_at": self._certificate_expires_at,
                "hours": RETENTION_HOURS,
            },
        )

    def withdraw(self) -> None:
        """Delete the instance, which stops, so that it does not count as lost."""
        self._database.run(_DELETE, [self._id])


class Instances:
    """The instances of all sites, as their heartbeats report them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Instance]:
        """Return running instances, and one lost instance of each role and site without any."""
        rows = self._database.read(_LIST, {"hours": RETENTION_HOURS})
        alive = [row for row in rows if row[6] <= LOST_SECONDS]
        present = {(row[0], tuple(row[3])) for row in alive}
        lost = []
        for row in rows:
            if (row[0], tuple(row[3])) not in present:
                present.add((row[0], tuple(row[3])))
                lost.append(row)
        common = _most_common([row[4] for row in alive])
        return [
            Instance(
                role,
                hostname,
                version,
                preference,
                started,
                seen,
                _drift(prints, common) if row in alive else [],
                stores,
                lost=row in lost,
                certificate_expires_at=certificate_end,
                bundle=combined(prints),
            )
            for row in [*alive, *lost]
            for role, hostname, version, preference, prints, started, *rest in [row]
            for seen, stores, certificate_end in [rest]
        ]

    def reachability(self, location: str) -> Reachability:
        """Return whether running instances can read from the store of a location."""
        reports = [
            (one.hostname, one.stores[location])
            for one in self._running()
            if location in one.stores
        ]
        return Reachability(
            [host for host, store in reports if _readable(store)],
            {host: str(store["cause"]) for host, store in reports if _readable(store) is False},
        )

    def unreachable(self, locations: Iterable[str]) -> tuple[str, ...]:
        """Return the locations that no running instance can read from.

        Their stores are unavailable wherever they are configured, or configured nowhere. Without
        running instances nothing is known, and no location is returned.
        """
        running = self._running()
        found = []
        for location in locations:
            seen = [_readable(one.stores[location]) for one in running if location in one.stores]
            if running and (not seen or (False in seen and True not in seen)):
                found.append(location)
        return tuple(found)

    def using(self, location: str) -> list[Instance]:
        """Return running instances whose bundle has a location."""
        return [one for one in self._running() if location in one.stores]

    def forget_site(self, location: str) -> None:
        """Delete the instances whose nearest location is the given one.

        Those that still run record themselves with their next heartbeat.
        """
        self._database.run(_DELETE_SITE, [location])

    def _running(self) -> list[Instance]:
        return [one for one in self.all() if not one.lost]


def _readable(store: dict[str, Any]) -> bool | None:
    """Return whether a store can be read from; instances of an older version report only `up`."""
    readable: bool | None = store.get("serves", store["up"])
    return readable


def _most_common(fingerprints: list[dict[str, str]]) -> dict[str, str | None]:
    """Return, for each key, the hash that most instances have; None where most lack the key."""
    keys = {key for prints in fingerprints for key in prints}
    return {
        key: Counter(prints.get(key) for prints in fingerprints).most_common(1)[0][0]
        for key in keys
    }


def _drift(prints: dict[str, str], common: dict[str, str | None]) -> list[str]:
    return sorted(key for key, value in common.items() if prints.get(key) != value)
