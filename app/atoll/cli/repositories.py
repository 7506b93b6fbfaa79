"""`atoll repository`: repositories."""

from __future__ import annotations

import click

from atoll.cli.commands import Group
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option
from atoll.cli.output import print_json, print_result
from atoll.errors import UserError
from atoll.names import RepositoryName


@click.group(cls=Group)
def repository() -> None:
    """Manage repositories."""


@repository.command()
@click.argument("name", metavar="NAMESPACE/NAME")
@click.option(
    "--visibility",
    type=click.Choice(["public", "private"]),
    default="private",
    show_default=True,
    help="Whether pulls require a permission.",
)
@json_option
@click.pass_obj
def create(context: CommandContext, name: str, visibility: str, as_json: bool) -> None:
    """Create a repository in an existing namespace.

    An existing repository is not changed.
    """
    parsed = RepositoryName.parse(name)
    services = context.services()
    created = services.repositories.create(parsed, visibility)
    if not created and not services.database.read(
        'SELECT 1 FROM "user" WHERE username = %s', [parsed.namespace]
    ):
        raise UserError(f"there is no namespace '{parsed.namespace}'; create the user first")
    if as_json:
        print_json({"repository": str(parsed), "created": created})
    elif created:
        print_result(f"repository {parsed} created, {visibility}")
    else:
        print_result(f"repository {parsed} exists already")
