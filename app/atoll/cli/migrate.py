"""`atoll migrate`: schema, locations and the first superuser."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from dataclasses import asdict, dataclass

import atoll
from atoll import logs
from atoll.auth.users import create_first_superuser
from atoll.cli.run import say
from atoll.cluster.instances import Instances
from atoll.db.migrate import Migration, contract, expand, is_migrated, pending
from atoll.db.pool import DatabaseUnavailable
from atoll.db.sessions import require_sessions
from atoll.server.bundle import load_bundle, load_bundle_to_administer
from atoll.server.container import wire_services
from atoll.services import Services

log = logging.getLogger(__name__)

# Seconds. At a boot of everything at once, PostgreSQL may be a moment later than we are.
_PATIENCE = 60
_PAUSE = 2


@dataclass(frozen=True)
class Migrated:
    """What was APPLIED, and what waits (CONTRACTIONS) for those who run another version, by host.

    Who is missed counts for as long as an instance is remembered: it may come back.
    """

    applied: list[str]
    contractions: list[str]
    others: dict[str, str]


def migrate(options: argparse.Namespace) -> int:
    """Bring the database up to this version."""
    logs.set_up()
    graph = wire_services(load_bundle_to_administer() if options.dry_run else load_bundle())
    migrated = _look(graph) if options.dry_run else prepare_database(graph)
    if options.json:
        sys.stdout.write(json.dumps(asdict(migrated)) + "\n")
    elif options.dry_run:
        say(f"to apply: {', '.join(migrated.applied) or 'nothing'}")
        if migrated.others:
            waiting, hosts = ", ".join(migrated.contractions), ", ".join(migrated.others)
            say(f"{waiting} waits until {hosts} runs {atoll.__version__}, or is forgotten")
    return 0


def prepare_database(graph: Services) -> Migrated:
    """Migrate, register the locations and make the first superuser; each only where needed.

    Waits a while for PostgreSQL, then raises DatabaseUnavailable. Raises SessionsUnsupported.
    """
    applied = _expand(graph)
    graph.locations.register(graph.database)
    create_first_superuser(graph.database, graph.bundle)
    left = _look(graph)
    if left.contractions:
        log.info("what other versions may need stays, for they run", extra=asdict(left))
    elif left.applied:
        applied += contract(graph.database)
    log.info("schema is current", extra={"applied": [one.number for one in applied]})
    return Migrated([str(one) for one in applied], left.contractions, left.others)


def _look(graph: Services) -> Migrated:
    """Return what would be applied now, and what would wait."""
    missing = pending(graph.database)
    contractions = [str(one) for one in missing if one.contracts]
    others = _other_versions(graph) if contractions and is_migrated(graph.database) else {}
    if not others:
        return Migrated([str(one) for one in missing], [], {})
    return Migrated([str(one) for one in missing if not one.contracts], contractions, others)


def _expand(graph: Services) -> list[Migration]:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            require_sessions(graph.database)
            return expand(graph.database)
        except DatabaseUnavailable as error:
            if time.monotonic() > deadline:
                raise
            log.warning("PostgreSQL is not there yet", extra={"cause": str(error)})
            time.sleep(_PAUSE)


def _other_versions(graph: Services) -> dict[str, str]:
    """Return the versions that are not ours, by the host of who runs it."""
    return {
        one.hostname: one.version
        for one in Instances(graph.database).all()
        if one.version != atoll.__version__
    }
