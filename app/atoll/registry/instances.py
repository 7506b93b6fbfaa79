"""The running instances: each tells the database where it is and what bundle it has."""

from __future__ import annotations

import json
import socket
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

import atoll
from atoll.config import Bundle
from atoll.db.pool import Database

# Seconds between two signs of life, and hours after which an instance is forgotten.
SIGN_OF_LIFE = 30
_FORGET_HOURS = 24

_RECORD = """
INSERT INTO instance (id, role, hostname, version, preference, bundle_fingerprint)
VALUES (%(id)s, %(role)s, %(hostname)s, %(version)s, %(preference)s, %(fingerprint)s)
ON CONFLICT (id) DO UPDATE SET seen_at = now();
DELETE FROM instance WHERE seen_at < now() - make_interval(hours => %(hours)s)
"""

_LIST = """
SELECT role, hostname, version, preference, bundle_fingerprint, started_at,
       extract(epoch FROM now() - seen_at)::float
FROM instance WHERE seen_at > now() - make_interval(secs => 3 * %(sign)s)
ORDER BY preference, role, hostname
"""


@dataclass(frozen=True)
class Instance:
    """A running instance; DRIFT names the keys of its bundle that differ from most others'."""

    role: str
    hostname: str
    version: str
    preference: list[str]
    started_at: datetime
    seen_seconds_ago: float
    drift: list[str]


class Presence:
    """One instance's entry."""

    def __init__(self, database: Database, bundle: Bundle, role: str) -> None:
        self._database = database
        self._id: UUID = uuid4()
        self._bundle = bundle
        self._role = role

    def record(self) -> None:
        """Tell the database that this instance is here."""
        self._database.run(
            _RECORD,
            {
                "id": self._id,
                "role": self._role,
                "hostname": socket.gethostname(),
                "version": atoll.__version__,
                "preference": self._bundle.preference,
                "fingerprint": json.dumps(self._bundle.fingerprint),
                "hours": _FORGET_HOURS,
            },
        )


def instances(database: Database) -> list[Instance]:
    """Return the instances that gave a sign of life lately."""
    rows = database.read(_LIST, {"sign": SIGN_OF_LIFE})
    common = _most_common([row[4] for row in rows])
    return [
        Instance(role, hostname, version, preference, started, seen, _drift(prints, common))
        for role, hostname, version, preference, prints, started, seen in rows
    ]


def _most_common(fingerprints: list[dict[str, str]]) -> dict[str, str | None]:
    """Return, for each key, the hash that most instances have; None where most lack the key."""
    keys = {key for prints in fingerprints for key in prints}
    return {
        key: Counter(prints.get(key) for prints in fingerprints).most_common(1)[0][0]
        for key in keys
    }


def _drift(prints: dict[str, str], common: dict[str, str | None]) -> list[str]:
    return sorted(key for key, value in common.items() if prints.get(key) != value)
