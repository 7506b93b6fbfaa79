"""The label `quay.expires-after` of an image: for how long a tag is to mean it.

It stands in the image's configuration, a blob like any other. So a blob is looked into while it is
here, in a file, on its way to a store; a manifest is kept without asking a store.
"""

from __future__ import annotations

import json
from typing import BinaryIO

from atoll.config.model import parse_duration

EXPIRES_AFTER = "quay.expires-after"
# Configurations are small; anything larger is a layer.
_SIZE_MAXIMUM = 1024 * 1024
# A hundred years: more is a mistake, and would not fit a date.
_SECONDS_MAXIMUM = 36_500 * 86400


def expires_after(file: BinaryIO, size: int) -> int | None:
    """Return the seconds that an image's configuration says, None if FILE holds no such thing."""
    if not 0 < size <= _SIZE_MAXIMUM:
        return None
    file.seek(0)
    content = file.read(size)
    if not content.lstrip().startswith(b"{") or EXPIRES_AFTER.encode() not in content:
        return None
    try:
        labels = json.loads(content)["config"]["Labels"]
        return seconds_of(labels[EXPIRES_AFTER])
    except (ValueError, RecursionError, LookupError, TypeError):
        return None


def seconds_of(text: str) -> int | None:
    """Return the seconds of a label's value, such as `2h`; None if it is none, as in Quay."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        return None
    return seconds if 0 < seconds <= _SECONDS_MAXIMUM else None
