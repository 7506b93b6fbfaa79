"""`atoll migrate`: migrate the database to this version."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass

import click

import atoll
from atoll import logs
from atoll.auth.users import create_first_superuser
from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option
from atoll.cli.output import print_json, print_result
from atoll.cluster.instances import Instances
from atoll.db.migrate import Migration, contract, expand, is_migrated, pending
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.sessions import require_sessions
from atoll.placement.locations.registration import register_locations
from atoll.services import Services

log = logging.getLogger(__name__)

# Seconds. When a site boots, PostgreSQL may start later than this command.
_INSTANCE_WAIT_SECONDS = 60
_PAUSE = 2


@dataclass(frozen=True)
class Migrated:
    """The outcome of a migration.

    Attributes:
        applied: the migrations that were applied, or that a dry run would apply.
        contractions: the migrations that are postponed because other versions run.
        others: these versions, by host. A lost instance counts until it is forgotten: it may
            return.
    """

    applied: list[str]
    contractions: list[str]
    others: dict[str, str]


@click.command(cls=Command)
@click.argument("version", metavar="[head]", required=False, type=click.Choice(["head"]))
@click.option("--dry-run", is_flag=True, help="Only list the migrations that would be applied.")
@json_option
@click.pass_obj
def migrate(context: CommandContext, version: str | None, *, dry_run: bool, as_json: bool) -> int:
    """Migrate the database to this version.

    The word 'head' is accepted as in Quay and has the same meaning; a database cannot be migrated
    to another version than that of the image.

    Also registers the locations of the bundle and creates the first superuser. Migrations that
    would break older versions are postponed until no instance of an older version runs.
    """
    del version
    logs.set_up()
    services = context.services() if dry_run else context.services_for_server()
    migrated = _dry_run(services) if dry_run else prepare_database(services)
    if as_json:
        print_json(asdict(migrated))
    elif dry_run:
        print_result(f"to apply: {', '.join(migrated.applied) or 'nothing'}")
        if migrated.others:
            waiting, hosts = ", ".join(migrated.contractions), ", ".join(migrated.others)
            print_result(
                f"postponed: {waiting}, until {hosts} runs {atoll.__version__} or is forgotten"
            )
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
    left = _plan(services.database)
    if left.contractions:
        log.info("contracting migrations postponed", extra=asdict(left))
    elif left.applied:
        applied += contract(services.database)
    log.info("schema is current", extra={"applied": [one.number for one in applied]})
    return Migrated([str(one) for one in applied], left.contractions, left.others)


def _dry_run(services: Services) -> Migrated:
    # Without the check of the schema, which refuses a database that is to be migrated.
    return _plan(Database.from_bundle(services.bundle, size=1))


def _plan(database: Database) -> Migrated:
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
