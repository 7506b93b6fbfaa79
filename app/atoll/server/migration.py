"""Migrate the database to this version, and create what a registry needs in it."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass

import atoll
from atoll.auth.users import create_first_superuser
from atoll.cluster.instances import Instances
from atoll.config import Bundle
from atoll.db.migrate import Migration, contract, expand, is_migrated, pending
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.sessions import require_sessions
from atoll.placement.locations.registration import register_locations
from atoll.server.container import wire_services
from atoll.services import Services

log = logging.getLogger(__name__)

# Seconds. When a site boots, PostgreSQL may start later than this process.
_INSTANCE_WAIT_SECONDS = 60
_PAUSE = 2


@dataclass(frozen=True)
class Migrated:
    """The outcome of a migration.

    Attributes:
        applied: the migrations that were applied, or that are planned.
        contractions: the migrations that are postponed because other versions run.
        others: these versions, by host. A lost instance counts until it is forgotten: it may
            return.
    """

    applied: list[str]
    contractions: list[str]
    others: dict[str, str]


def migrate(bundle: Bundle) -> int:
    """Prepare the database in a process of its own, and return the exit code."""
    prepare_database(wire_services(bundle))
    return 0


def prepare_database(services: Services) -> Migrated:
    """Migrate, register the locations and create the first superuser, as far as needed.

    Waits for PostgreSQL for up to a minute.

    Raises:
        DatabaseUnavailable: PostgreSQL did not become available.
        SessionsUnsupported: a pooler shares connections between sessions.
    """
    applied = _expand(services)
    # Not of `locations`, which would create the clients of all stores.
    register_locations(services.database, services.bundle.stores)
    create_first_superuser(services.database, services.bundle)
    left = plan_migration(services.database)
    if left.contractions:
        log.info("contracting migrations postponed", extra=asdict(left))
    elif left.applied:
        applied += contract(services.database)
    log.info("schema is current", extra={"applied": [one.number for one in applied]})
    return Migrated([str(one) for one in applied], left.contractions, left.others)


def plan_migration(database: Database) -> Migrated:
    """Return the migrations that would be applied now, and those that would be postponed."""
    missing = pending(database)
    contractions = [str(one) for one in missing if one.contracts]
    others = _other_versions(database) if contractions and is_migrated(database) else {}
    if not others:
        return Migrated([str(one) for one in missing], [], {})
    return Migrated([str(one) for one in missing if not one.contracts], contractions, others)


def _expand(services: Services) -> list[Migration]:
    deadline = time.monotonic() + _INSTANCE_WAIT_SECONDS
    while True:
        try:
            require_sessions(services.database)
            return expand(services.database)
        except DatabaseUnavailable as error:
            if time.monotonic() > deadline:
                raise
            log.warning("database unavailable, retrying", extra={"cause": str(error)})
            time.sleep(_PAUSE)


def _other_versions(database: Database) -> dict[str, str]:
    """Return the versions of instances that are not this one, by host."""
    return {
        one.hostname: one.version
        for one in Instances(database).all()
        if one.version != atoll.__version__
    }
