"""Validation of the session settings in DB_URI and DB_CONNECTION_ARGS."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn

from atoll.config.model import Bundle

ISOLATION_SETTING = "default_transaction_isolation"
REQUIRED_ISOLATION = "read committed"

# A word of libpq's `options`; a backslash escapes the next character.
_WORD = re.compile(r"(?:\\.|[^\s\\])+", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def isolation_problems(bundle: Bundle) -> list[str]:
    """Return a message for each key whose `options` set an unsupported isolation level."""
    found = []
    for key, options in _options(bundle):
        level = isolation_level(options)
        if level is not None and level != REQUIRED_ISOLATION:
            found.append(
                f"{key}: sets {ISOLATION_SETTING} to '{level}', but Atoll's transactions must see"
                f" rows that were committed before they acquired a lock, which requires"
                f" '{REQUIRED_ISOLATION}'; remove the setting"
            )
    return found


def isolation_level(options: str) -> str | None:
    """Return the isolation level that libpq's `options` set; None if they do not set it."""
    level = None
    for name, value in _settings(options):
        if name.replace("-", "_").lower() == ISOLATION_SETTING:
            level = value.lower()
    return level


def _options(bundle: Bundle) -> Iterator[tuple[str, str]]:
    """Yield each key that can hold libpq's `options`, with their value."""
    sources: list[tuple[str, str, Mapping[str, Any]]] = [
        ("DB_", bundle.db_uri.get_secret_value(), bundle.db_connection_args)
    ]
    sources += [
        (
            f"DB_READ_REPLICAS.{number}.DB_",
            replica.db_uri.get_secret_value(),
            replica.db_connection_args,
        )
        for number, replica in enumerate(bundle.db_read_replicas)
    ]
    for prefix, uri, arguments in sources:
        yield f"{prefix}CONNECTION_ARGS", str(arguments.get("options", ""))
        yield f"{prefix}URI", _options_of(uri)


def _options_of(uri: str) -> str:
    try:
        return str(parse_dsn(uri).get("options", ""))
    except psycopg2.ProgrammingError:
        # Connecting fails with libpq's own message.
        return ""


def _settings(options: str) -> Iterator[tuple[str, str]]:
    """Yield the name and value of each `-c name=value`, `-cname=value` and `--name=value`."""
    words = iter(_ESCAPED.sub(r"\1", word) for word in _WORD.findall(options))
    for word in words:
        if word == "-c":
            setting = next(words, "")
        elif word.startswith("-c"):
            setting = word.removeprefix("-c")
        elif word.startswith("--"):
            setting = word.removeprefix("--")
        else:
            continue
        name, _, value = setting.partition("=")
        yield name, value
