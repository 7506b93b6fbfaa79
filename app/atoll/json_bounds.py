"""Bounds of JSON documents of strangers, which must not exhaust the memory of a process.

A parsed value needs about 200 bytes at most, however few it has in the document: 8 MiB that consist
of `{},` would take hundreds of megabytes. So the values are counted before a document is parsed.
Its text and its strings each need up to four times its own bytes, if it has characters outside of
the basic multilingual plane. A document of B bytes with V values thus takes 8 B + 200 V bytes at
most, in addition to its own.
"""

from __future__ import annotations

import re

# Values of a manifest, of an index or of its referrers: 1,000 entries have about 10,000.
VALUES_MAXIMUM = 100_000
DEPTH_MAXIMUM = 32

# The characters outside of strings that begin, separate or end values. A string that does not end
# matches up to its last character, so that each byte is read once.
_TOKEN = re.compile(rb'[\[\]{},]|"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_OPENING, _CLOSING, _SEPARATOR = frozenset(b"[{"), frozenset(b"]}"), ord(",")
# Tokens of a valid document per value: it is opened and closed, or has a key and is a string.
_TOKENS_PER_VALUE = 4


class BoundExceeded(ValueError):
    """A document has too many values or is nested too deeply; the text is a predicate."""


def check_structure(body: bytes, *, values: int = VALUES_MAXIMUM) -> None:
    """Check the number of values in a JSON document and their depth, in constant memory.

    Each list, each object and each comma counts as a value.

    Args:
        body: The document, which need not be valid.
        values: The maximum number of values.

    Raises:
        BoundExceeded: It has more values, or is nested more deeply than DEPTH_MAXIMUM.
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
            raise BoundExceeded(f"is nested more than {DEPTH_MAXIMUM} levels deep")
        if found > values or number > _TOKENS_PER_VALUE * (values + 1):
            raise BoundExceeded(f"has more than {values} values")
