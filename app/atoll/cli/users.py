"""`atoll user`: user accounts."""

from __future__ import annotations

import sys

import click

from atoll.auth import users
from atoll.cli.commands import Group
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option
from atoll.cli.output import print_json, print_result


@click.group(cls=Group)
def user() -> None:
    """Manage user accounts."""


@user.command()
@click.argument("name")
@click.option("--email", metavar="ADDRESS", help="The user's e-mail address.")
@click.option(
    "--password-stdin",
    is_flag=True,
    required=True,
    help="Read the password from standard input.",
)
@json_option
@click.pass_obj
def create(
    context: CommandContext, name: str, email: str | None, password_stdin: bool, as_json: bool
) -> None:
    """Create a user account."""
    del password_stdin
    password = sys.stdin.readline().rstrip("\r\n")
    users.create_user(context.services().database, name, email, password)
    if as_json:
        print_json({"user": name, "created": True})
    else:
        print_result(f"user {name} created")
