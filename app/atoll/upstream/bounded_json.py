"""JSON documents of upstreams, which must not exhaust the memory of a process.

A parsed value needs about 200 bytes at most, however few it has in the document: 8 MiB that consist
of `{},` would take hundreds of megabytes. So the values are counted before a document is parsed.
Its text and its strings each need up to four times its own bytes, if it has characters outside of
the basic multilingual plane. A document of B bytes with V values thus takes 8 B + 200 V bytes at
most, in addition to its own.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from atoll.upstream.errors import InvalidContent, TooLarge

# Values of a manifest, of an index or of its referrers: 1,000 entries have about 10,000.
VALUES_MAXIMUM = 100_000
DEPTH_MAXIMUM = 32

# The characters outside of strings that begin, separate or end values. A string that does not end
# matches up to its last character, so that each byte is read once.
_TOKEN = re.compile(rb'[\[\]{},]|"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_OPENING, _CLOSING, _SEPARATOR = frozenset(b"[{"), frozenset(b"]}"), ord(",")
# Tokens of a valid document per value: it is opened and closed, or has a key and is a string.
_TOKENS_PER_VALUE = 4

# Documents are parsed one after the other. Python would not parse them concurrently in any case,
# and would keep the parsed ones of all threads in memory.
_PARSING = threading.Lock()


@contextmanager
def parsed(body: bytes, name: str, *, values: int = VALUES_MAXIMUM) -> Iterator[dict[str, Any]]:
    """Parse a document and yield it; no other thread of the process parses one meanwhile.

    The caller must not send requests, and must not keep references to the document.

    Args:
        body: The document.
        name: What it is, for errors.
        values: The maximum number of values, in lists and objects of any depth.

    Raises:
        TooLarge: It has more values, or is nested more deeply than DEPTH_MAXIMUM.
        InvalidContent: It is not a JSON object.
    """
    with _PARSING:
        check_structure(body, name, values=values)
        try:
            document = json.loads(body.decode())
        except (ValueError, RecursionError) as error:
            raise InvalidContent(f"{name} is not JSON") from error
        if not isinstance(document, dict):
            raise InvalidContent(f"{name} is not a JSON object")
        yield document


def check_structure(body: bytes, name: str, *, values: int = VALUES_MAXIMUM) -> None:
    """Check the number of values in a JSON document and their depth, in constant memory.

    Each list, each object and each comma counts as a value.

    Args:
        body: The document, which need not be valid.
        name: What it is, for errors.
        values: The maximum number of values.

    Raises:
        TooLarge: It has more values, or is nested more deeply than DEPTH_MAXIMUM.
    """
    found = depth = 0
    for number, token in enumerate(_TOKEN.finditer(body)):
        first = body[token.start()]
        if first in _OPENING:
            depth += 1
            found += 1
        elif first in _CLOSING:
            depth -= 1
        elif first == _SEPARATOR:
            found += 1
        if depth > DEPTH_MAXIMUM:
            raise TooLarge(f"{name} is nested more than {DEPTH_MAXIMUM} levels deep")
        if found > values or number > _TOKENS_PER_VALUE * (values + 1):
            raise TooLarge(f"{name} has more than {values} values")
