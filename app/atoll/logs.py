"""Logs: JSON of processes for journald, and text of commands for people, on standard error."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

# The attributes that logging sets on every record; all others come from `extra=`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

# Bytes that Linux writes to a pipe at once (PIPE_BUF). The processes of a container share its
# standard error, so a longer write may be interrupted by a line of another process.
_ATOMIC_WRITE = 4096


class JsonFormatter(logging.Formatter):
    """Format a record as a JSON object with time, level, logger, message and the extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(_fields(record))
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Format a record as text with level, message and the extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line, which the lines of an exception follow."""
        line = f"{record.levelname.lower()}: {record.getMessage()}"
        if fields := _fields(record):
            line += f" ({', '.join(f'{name}: {_shown(value)}' for name, value in fields.items())})"
        if record.exc_info and record.exc_info[0] is not None:
            line += f"\n{self.formatException(record.exc_info)}"
        return line


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}


def _shown(value: object) -> str:
    """Return a value without characters that control a terminal."""
    text = str(value)
    return text if text.isprintable() else json.dumps(text)


def set_up_for_command() -> None:
    """Write warnings and errors of a command to standard error as text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    _set_levels_of_libraries()


def set_up(*, debug: bool = False) -> None:
    """Write all log records of this process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    # A command that became a process.
    for other in list(root.handlers):
        if isinstance(other.formatter, TextFormatter):
            root.removeHandler(other)
    logging.basicConfig(handlers=[handler])
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    _set_levels_of_libraries()


def _set_levels_of_libraries() -> None:
    # At lower levels, these log requests including signatures and tokens.
    for library in ("azure", "botocore", "keystoneauth", "keystoneclient", "swiftclient"):
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def write_lines(lines: Iterable[str]) -> None:
    """Write formatted lines of ASCII, each with its line feed, to standard error."""
    try:
        for piece in _pieces(lines):
            sys.stderr.write(piece)
            sys.stderr.flush()
    except (OSError, ValueError):
        # As `logging` does: a log that cannot be written must not fail the work that it is about.
        return


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    """Join lines to pieces that are written at once."""
    piece: list[str] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > _ATOMIC_WRITE:
            yield "".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield "".join(piece)
