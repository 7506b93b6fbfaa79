"""JSON documents of upstreams, parsed within the bounds of `atoll.json_bounds`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from atoll import json_bounds
from atoll.json_bounds import VALUES_MAXIMUM, BoundExceeded
from atoll.upstream.errors import InvalidContent, TooLarge

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
        TooLarge: It has more values, or is nested too deeply.
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

    Args:
        body: The document, which need not be valid.
        name: What it is, for errors.
        values: The maximum number of values.

    Raises:
        TooLarge: It has more values, or is nested too deeply.
    """
    try:
        json_bounds.check_structure(body, values=values)
    except BoundExceeded as error:
        raise TooLarge(f"{name} {error}") from error
