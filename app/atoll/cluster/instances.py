"""The running instances: each tells the database where it is, what bundle it has, what it sees."""

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
from atoll.db.pool import Database
from atoll.storage.health import StoreHealth, StoreState

# Seconds between two signs of life, and after how many of them an instance is taken for lost; hours
# after which it is forgotten.
SIGN_OF_LIFE = 30
_LOST_SECONDS = 3 * SIGN_OF_LIFE
_FORGET_HOURS = 24

_RECORD = """
INSERT INTO instance (id, role, hostname, version, preference, bundle_fingerprint, stores)
VALUES (%(id)s, %(role)s, %(hostname)s, %(version)s, %(preference)s, %(fingerprint)s, %(stores)s)
ON CONFLICT (id) DO UPDATE SET seen_at = now(), stores = EXCLUDED.stores;
DELETE FROM instance WHERE seen_at < now() - make_interval(hours => %(hours)s)
"""

_LIST = """
SELECT role, hostname, version, preference, bundle_fingerprint, started_at,
       extract(epoch FROM now() - seen_at)::float, stores
FROM instance WHERE seen_at > now() - make_interval(hours => %(hours)s)
ORDER BY preference, role, hostname, seen_at DESC
"""

_FORGET = "DELETE FROM instance WHERE id = %s"
_FORGET_SITE = "DELETE FROM instance WHERE preference[1] = %s"


@dataclass(frozen=True)
class Instance:
    """An instance; DRIFT names the keys of its bundle that differ from most others'.

    STORES tells of each location whether its store is up, as far as the instance knows, whether it
    serves what it has, and if not why. A LOST instance gave no sign of life, and no other one of
    its site has its role.
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


@dataclass(frozen=True)
class Sight:
    """How the living instances see a store: those that read from it, by host; DOWN, and why."""

    up: list[str]
    down: dict[str, str]

    @property
    def dead(self) -> bool:
        """Tell whether somebody looks, and nobody finds it up."""
        return bool(self.down) and not self.up


class Presence:
    """One instance's entry, which several processes may keep, under the same IDENTIFIER."""

    def __init__(
        self,
        database: Database,
        bundle: Bundle,
        role: str,
        health: StoreHealth,
        identifier: UUID | None = None,
    ) -> None:
        self._database = database
        self._id: UUID = identifier or uuid4()
        self._bundle = bundle
        self._role = role
        self._health = health

    def seen(self) -> dict[str, dict[str, Any]]:
        """Return what this process knows of the stores."""
        states = {location: self._health.state(location) for location in self._bundle.stores}
        return {
            name: {"up": _up(state), "serves": state.up, "cause": state.cause}
            for name, state in states.items()
        }

    def record(self) -> None:
        """Tell the database that this instance is here, and how it sees the stores."""
        self._database.run(
            _RECORD,
            {
                "id": self._id,
                "role": self._role,
                "hostname": socket.gethostname(),
                "version": atoll.__version__,
                "preference": self._bundle.preference,
                "fingerprint": json.dumps(self._bundle.fingerprint),
                "stores": json.dumps(self.seen()),
                "hours": _FORGET_HOURS,
            },
        )

    def withdraw(self) -> None:
        """Tell the database that this instance ends, so that nobody misses it."""
        self._database.run(_FORGET, [self._id])


def instances(database: Database) -> list[Instance]:
    """Return the instances that gave a sign of life lately, and those that are missed."""
    rows = database.read(_LIST, {"hours": _FORGET_HOURS})
    alive = [row for row in rows if row[6] <= _LOST_SECONDS]
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
        )
        for row in [*alive, *lost]
        for role, hostname, version, preference, prints, started, seen, stores in [row]
    ]


def forget_site(database: Database, location: str) -> None:
    """Miss nobody any more who preferred LOCATION; whoever lives tells so again."""
    database.run(_FORGET_SITE, [location])


def _up(state: StoreState) -> bool | None:
    """Tell whether a store is whole: one that is full serves, and yet somebody has to look."""
    return None if state.up is None else state.whole


def sight(database: Database, location: str) -> Sight:
    """Return how the store of LOCATION is seen now, as far as instances told the database."""
    seen = [
        (one.hostname, one.stores[location])
        for one in instances(database)
        if not one.lost and location in one.stores
    ]
    return Sight(
        [host for host, state in seen if _serves(state)],
        {host: str(state["cause"]) for host, state in seen if _serves(state) is False},
    )


def unreadable(database: Database, locations: Iterable[str]) -> tuple[str, ...]:
    """Return those LOCATIONS that no running instance can read from.

    Their stores are down at every site that knows, or no site has them in its bundle. Empty if no
    instance is running, as then nothing is known.
    """
    running = [one for one in instances(database) if not one.lost]
    found = []
    for location in locations:
        seen = [_serves(one.stores[location]) for one in running if location in one.stores]
        if running and (not seen or (False in seen and True not in seen)):
            found.append(location)
    return tuple(found)


def _serves(state: dict[str, Any]) -> bool | None:
    """Tell whether a store is read from; a version before this one tells less."""
    serves: bool | None = state.get("serves", state["up"])
    return serves


def _most_common(fingerprints: list[dict[str, str]]) -> dict[str, str | None]:
    """Return, for each key, the hash that most instances have; None where most lack the key."""
    keys = {key for prints in fingerprints for key in prints}
    return {
        key: Counter(prints.get(key) for prints in fingerprints).most_common(1)[0][0]
        for key in keys
    }


def _drift(prints: dict[str, str], common: dict[str, str | None]) -> list[str]:
    return sorted(key for key, value in common.items() if prints.get(key) != value)
