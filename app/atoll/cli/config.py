"""`atoll config check`: the code that checks at boot, on a file of one's choice."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from atoll import exit_codes
from atoll.cli.run import say
from atoll.config import Bundle
from atoll.config.check import Check
from atoll.config.check import check as check_bundle
from atoll.config.load import ConfigError, parse_preference, read
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.sessions import SessionsUnsupported, require_sessions
from atoll.server.paths import ca_bundle_file
from atoll.storage.drivers import make_store
from atoll.storage.errors import StoreError


def check(options: argparse.Namespace) -> int:
    """Say what is wrong with a config.yaml; 0 if nothing is, 1 else."""
    preference = parse_preference(options.preference) if options.preference is not None else None
    try:
        text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text("utf-8")
        result = check_bundle(read(text, options.file), preference)
    except ConfigError as error:
        result = Check(None, error.problems)
    except (OSError, UnicodeDecodeError) as error:
        result = Check(None, [f"cannot be read: {error}"])
    if result.bundle is not None:
        result.problems.extend(_probe(result.bundle, options.probe))
        if options.connect:
            result.problems.extend(_connect(result.bundle))
    if options.json:
        report = {"problems": result.problems, "warnings": result.warnings}
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        for kind, lines in (("", result.problems), ("warning: ", result.warnings)):
            for line in lines:
                say(f"{options.file}: {kind}{line}")
        if not result.problems:
            say(f"{options.file}: good")
    return exit_codes.FAILED if result.problems else 0


def _connect(bundle: Bundle) -> Iterator[str]:
    """Connect to the database as processes do; yield a sentence if they cannot."""
    try:
        require_sessions(Database.from_bundle(bundle, size=1))
    except SessionsUnsupported as error:
        yield f"DB_URI: {error}"
    except DatabaseUnavailable as error:
        yield f"DB_URI: PostgreSQL cannot be reached from here: {error}"


def _probe(bundle: Bundle, locations: list[str]) -> Iterator[str]:
    """Let the store of each location take an object; yield a sentence for each that does not.

    In a container that serves, TLS is checked against the authorities that it serves with.
    """
    authorities = ca_bundle_file()
    for location in locations:
        if location not in bundle.stores:
            yield f"DISTRIBUTED_STORAGE_CONFIG: there is no location '{location}'"
            continue
        store = make_store(
            location,
            bundle.stores[location],
            ca_bundle=str(authorities) if authorities.exists() else None,
        )
        try:
            store.probe(write=True)
        except StoreError as error:
            cause = getattr(error, "cause", error)
            yield f"the store of '{location}' takes no object from here: {cause}"
