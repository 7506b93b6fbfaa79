"""`atoll user create`, `atoll token create` and `atoll repository create`."""

from __future__ import annotations

import argparse
import sys

from atoll.auth import users
from atoll.auth.api_tokens import SCOPES, ApiTokens
from atoll.auth.passwords import PasswordTooShort
from atoll.cli.run import say
from atoll.errors import UserError
from atoll.names import InvalidName, RepositoryName
from atoll.server.bundle import load_bundle_to_administer
from atoll.server.container import wire_services

_DAYS_MAXIMUM = 3650


def create_user(options: argparse.Namespace) -> int:
    """Make a user with the password that standard input holds."""
    password = sys.stdin.readline().rstrip("\r\n")
    try:
        users.create_user(
            wire_services(load_bundle_to_administer()).database,
            options.name,
            options.email,
            password,
        )
    except (users.InvalidUsername, users.UserExists, PasswordTooShort) as error:
        raise UserError(str(error)) from error
    say(f"user {options.name} created")
    return 0


def create_token(options: argparse.Namespace) -> int:
    """Make a token of the API for a user, and print it: nobody can read it again."""
    scopes = options.scope or list(SCOPES)
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise UserError(f"'{unknown[0]}' is no scope; known are {', '.join(SCOPES)}")
    if not 0 < options.days <= _DAYS_MAXIMUM:
        raise UserError(f"--days must be a number from 1 to {_DAYS_MAXIMUM}")
    database = wire_services(load_bundle_to_administer()).database
    try:
        user = users.get_user(database, options.name)
    except users.UserUnknown as error:
        raise UserError(str(error)) from error
    token = ApiTokens(database).create(user.username, scopes, options.days * 86400)
    sys.stdout.write(f"{token}\n")
    return 0


def create_repository(options: argparse.Namespace) -> int:
    """Make a repository; no error if it is there already."""
    try:
        name = RepositoryName.parse(options.name)
    except InvalidName as error:
        raise UserError(str(error)) from error
    graph = wire_services(load_bundle_to_administer())
    if graph.repositories.create(name, options.visibility):
        say(f"repository {name} created, {options.visibility}")
        return 0
    if graph.database.read('SELECT 1 FROM "user" WHERE username = %s', [name.namespace]):
        say(f"repository {name} exists already")
        return 0
    raise UserError(f"there is no namespace '{name.namespace}'; make the user first")
