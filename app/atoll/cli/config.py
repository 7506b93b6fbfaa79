"""`atoll config`: check configuration bundles."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from atoll import exit_codes
from atoll.cli.commands import Group
from atoll.cli.options import json_option
from atoll.cli.output import print_json, print_result
from atoll.config import Bundle
from atoll.config.check import Check
from atoll.config.check import check as check_bundle
from atoll.config.load import ConfigError, parse_preference, read
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.sessions import SessionsUnsupported, require_sessions
from atoll.server.paths import ca_bundle_file
from atoll.storage.drivers import make_store
from atoll.storage.errors import StoreError


@click.group(cls=Group)
def config() -> None:
    """Check a configuration bundle."""


@config.command(
    exit_codes={0: "The file is valid.", 1: "The file has problems; the output lists them."},
    examples=[
        "atoll config check /conf/stack/config.yaml",
        "atoll config check - --probe eustorage --connect < config.yaml",
    ],
)
@click.argument("file")
@click.option(
    "--preference",
    metavar="LOCATIONS",
    help="Check with this preference instead of the container's.",
)
@click.option(
    "--probe",
    "locations",
    multiple=True,
    metavar="LOCATION",
    help="Also write a test object to this location's store; repeatable.",
)
@click.option("--connect", is_flag=True, help="Also connect to the database.")
@json_option
def check(
    file: str, preference: str | None, locations: tuple[str, ...], connect: bool, as_json: bool
) -> int:
    """Check a config.yaml.

    FILE is a path, or - for standard input. A server runs the same checks when it starts.
    """
    result = _check(file, None if preference is None else parse_preference(preference))
    if result.bundle is not None:
        result.problems.extend(_probe(result.bundle, locations))
        if connect:
            result.problems.extend(_connect(result.bundle))
    if as_json:
        print_json({"problems": result.problems, "warnings": result.warnings})
    else:
        for kind, lines in (("", result.problems), ("warning: ", result.warnings)):
            for line in lines:
                print_result(f"{file}: {kind}{line}")
        if not result.problems:
            print_result(f"{file}: valid")
    return exit_codes.FAILED if result.problems else 0


def _check(file: str, preference: list[str] | None) -> Check:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        return check_bundle(read(text, file), preference)
    except ConfigError as error:
        return Check(None, error.problems)
    except (OSError, UnicodeDecodeError) as error:
        return Check(None, [f"cannot be read: {error}"])


def _connect(bundle: Bundle) -> Iterator[str]:
    """Connect to the database as a server does, and yield the problem if that fails."""
    try:
        require_sessions(Database.from_bundle(bundle, size=1))
    except SessionsUnsupported as error:
        yield f"DB_URI: {error}"
    except DatabaseUnavailable as error:
        yield f"DB_URI: PostgreSQL cannot be reached from this host: {error}"


def _probe(bundle: Bundle, locations: Iterable[str]) -> Iterator[str]:
    """Write an object to each location's store, and yield a problem for each that refuses it.

    In a container with a server, TLS is verified with that server's CA certificates.
    """
    certificates = ca_bundle_file()
    for location in locations:
        if location not in bundle.stores:
            yield f"DISTRIBUTED_STORAGE_CONFIG: there is no location '{location}'"
            continue
        store = make_store(
            location,
            bundle.stores[location],
            ca_bundle=str(certificates) if certificates.exists() else None,
        )
        try:
            store.probe(write=True)
        except StoreError as error:
            cause = getattr(error, "cause", error)
            yield f"the store of '{location}' accepts no objects from this host: {cause}"
