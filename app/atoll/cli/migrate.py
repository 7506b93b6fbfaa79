"""`atoll migrate`: migrate the database to this version."""

from __future__ import annotations

from dataclasses import asdict

import click

import atoll
from atoll import logs
from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option
from atoll.cli.output import print_json, print_result
from atoll.db.pool import Database
from atoll.server.migration import Migrated, plan_migration, prepare_database


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
    migrated = _plan(context) if dry_run else prepare_database(context.services_for_server())
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


def _plan(context: CommandContext) -> Migrated:
    # Without the check of the schema, which refuses a database that is to be migrated.
    return plan_migration(Database.from_bundle(context.services().bundle, size=1))
