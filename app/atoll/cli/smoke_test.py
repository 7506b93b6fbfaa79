"""`atoll smoke-test`: use the registry as its clients do."""

from __future__ import annotations

import secrets
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

import atoll
from atoll.audit.log import Entry
from atoll.auth import users
from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option
from atoll.cli.output import note, print_json, print_result
from atoll.cli.polling import poll
from atoll.errors import UserError
from atoll.names import RepositoryName
from atoll.registry.image_completeness import ImageCompleteness
from atoll.registry.namespace_deletion import NamespaceDeletion
from atoll.server.registry_client import Endpoint, Image, RegistryClient
from atoll.services import Services

_TAG = "latest"
_PREFIX = "smoke-test-"
# Accounts that an interrupted smoke test left behind. An hour protects those of a running one.
_LIST_ABANDONED = """
SELECT username FROM "user"
WHERE username LIKE %(prefix)s || '%%' AND username ~ '^smoke-test-[0-9a-f]{16}$'
  AND NOT organization AND created_at < now() - interval '1 hour'
"""


@click.command(
    "smoke-test",
    cls=Command,
    exit_codes={0: "All steps succeeded.", 1: "A step failed; the message names it."},
    examples=["atoll smoke-test --endpoint 192.0.2.20:443 --endpoint 198.51.100.20:443"],
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    required=True,
    metavar="ADDRESS:PORT",
    help="A load balancer or host to pull through; repeatable. The first one is pushed to.",
)
@click.option(
    "--ca-stdin",
    is_flag=True,
    help="Read additional CA certificates from standard input, in PEM format.",
)
@click.option(
    "--timeout",
    type=float,
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="Fail if the image is not replicated after this time.",
)
@json_option
@click.pass_obj
def smoke_test(
    context: CommandContext,
    endpoints: tuple[str, ...],
    ca_stdin: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Log in, push an image, and pull it through each endpoint.

    The command also waits until the image is complete at all required locations. It uses a
    temporary user, and deletes the user with the image afterwards.
    """
    parsed = [Endpoint.parse(text) for text in endpoints]
    certificates = sys.stdin.read() if ca_stdin else ""
    services = context.services_with_stores()
    tls = _tls(services, certificates)
    image = Image.unique()
    with _temporary_user(services) as credentials:
        repository = RepositoryName.parse(f"{credentials[0]}/image")
        clients = [
            RegistryClient(
                endpoint,
                services.bundle.server_hostname,
                tls,
                credentials=credentials,
                repository=str(repository),
            )
            for endpoint in parsed
        ]
        for client in clients:
            client.log_in(timeout)
        clients[0].push(image, _TAG)
        locations = _wait_until_complete(services, repository, timeout)
        for client in clients:
            client.pull(image, _TAG)
    if as_json:
        print_json(
            {
                "hostname": services.bundle.server_hostname,
                "version": atoll.__version__,
                "endpoints": [str(endpoint) for endpoint in parsed],
                "locations": locations,
            }
        )
    else:
        print_result(
            f"pushed through {parsed[0]}, complete at {', '.join(locations)}, pulled through"
            f" {', '.join(map(str, parsed))}"
        )


def _tls(services: Services, certificates: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=services.ca_bundle)
    if certificates.strip():
        try:
            context.load_verify_locations(cadata=certificates)
        except ssl.SSLError as error:
            raise UserError("--ca-stdin: the input contains no certificate") from error
    return context


@contextmanager
def _temporary_user(services: Services) -> Iterator[tuple[str, str]]:
    """Create a user, and delete it with its repositories afterwards."""
    for (abandoned,) in services.database.read(_LIST_ABANDONED, {"prefix": _PREFIX}):
        _delete(services, abandoned)
    name, password = f"{_PREFIX}{secrets.token_hex(8)}", secrets.token_urlsafe(32)
    users.create_user(services.database, name, None, password)
    try:
        yield name, password
    finally:
        _delete(services, name)


def _delete(services: Services, name: str) -> None:
    entry = Entry("user_delete", name, None, None, None, {"username": name})
    removal = NamespaceDeletion(services.database, services.redis)
    removal.delete_namespace(name, entry, organization=False)


def _wait_until_complete(
    services: Services, repository: RepositoryName, timeout: float
) -> list[str]:
    """Return the required locations after the image is complete at all of them.

    Raises:
        UserError: The timeout expired.
    """
    required = (
        services.bundle.required_locations if services.bundle.feature_storage_replication else []
    )
    completeness = ImageCompleteness(services.database, required)
    deadline = time.monotonic() + timeout
    found = completeness.of(repository, _TAG)
    while missing := [one.location for one in found.locations if one.required and not one.complete]:
        if time.monotonic() >= deadline:
            raise UserError(
                f"the image is not complete at {', '.join(missing)} after {timeout:g} seconds; see"
                " `atoll status`"
            )
        note(f"waiting for {', '.join(missing)}")
        found = poll(lambda: completeness.of(repository, _TAG))
    return [one.location for one in found.locations if one.required] or [
        one.location for one in found.locations if one.complete
    ]
