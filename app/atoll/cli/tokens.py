"""`atoll token`: tokens of the API."""

from __future__ import annotations

import click

from atoll.auth.api_tokens import SCOPES, ApiTokens
from atoll.auth.users import get_user
from atoll.cli.commands import Group
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option
from atoll.cli.output import print_json, print_result
from atoll.errors import UserError

_DAYS_MAXIMUM = 3650


@click.group(cls=Group)
def token() -> None:
    """Manage API tokens."""


@token.command()
@click.argument("user")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="SCOPE",
    help="A scope of the token, such as repo:read; repeatable. Default: all scopes.",
)
@click.option(
    "--days",
    type=int,
    default=365,
    show_default=True,
    metavar="DAYS",
    help="The time until the token expires.",
)
@json_option
@click.pass_obj
def create(
    context: CommandContext, user: str, scopes: tuple[str, ...], days: int, as_json: bool
) -> None:
    """Create an API token for a user and print it.

    The token is stored only as a hash and cannot be printed again.
    """
    granted = list(scopes) or list(SCOPES)
    if unknown := [scope for scope in granted if scope not in SCOPES]:
        raise UserError(f"unknown scope '{unknown[0]}'; the scopes are: {', '.join(SCOPES)}")
    if not 0 < days <= _DAYS_MAXIMUM:
        raise UserError(f"--days must be a number from 1 to {_DAYS_MAXIMUM}")
    database = context.services().database
    owner = get_user(database, user).username
    created = ApiTokens(database).create(owner, granted, days * 86400)
    if as_json:
        print_json({"user": owner, "scopes": granted, "days": days, "token": created})
    else:
        print_result(created)
