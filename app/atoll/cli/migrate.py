"""`atoll migrate`: schema, locations and the first superuser."""

from __future__ import annotations

import argparse
import logging
import time

from atoll import logs
from atoll.auth.users import create_first_superuser
from atoll.cli.bundle import load_bundle
from atoll.cli.graph import Graph
from atoll.db.migrate import migrate as migrate_schema
from atoll.db.pool import DatabaseUnavailable

log = logging.getLogger(__name__)

# Seconds. At a boot of everything at once, PostgreSQL may be a moment later than we are.
_PATIENCE = 60
_PAUSE = 2


def migrate(options: argparse.Namespace) -> int:
    """Bring the database up to this version."""
    del options
    logs.set_up()
    prepare_database(Graph(load_bundle()))
    return 0


def prepare_database(graph: Graph) -> None:
    """Migrate, register the locations and make the first superuser; each only where needed.

    Waits a while for PostgreSQL, then raises DatabaseUnavailable.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            applied = migrate_schema(graph.database)
            break
        except DatabaseUnavailable as error:
            if time.monotonic() > deadline:
                raise
            log.warning("PostgreSQL is not there yet", extra={"cause": str(error)})
            time.sleep(_PAUSE)
    log.info("schema is current", extra={"applied": [migration.number for migration in applied]})
    graph.locations.register(graph.database)
    create_first_superuser(graph.database, graph.bundle)
