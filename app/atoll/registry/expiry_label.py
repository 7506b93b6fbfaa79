"""The image label `quay.expires-after`, which limits the lifetime of tags.

The label is part of the image configuration, which is a blob. It is therefore parsed while the blob
is uploaded, so that a push of a manifest needs no request to a store.
"""

from __future__ import annotations

import json
from typing import BinaryIO

from atoll.config.model import parse_duration

EXPIRES_AFTER = "quay.expires-after"
# Larger blobs are layers.
_SIZE_MAXIMUM = 1024 * 1024
# A hundred years. Larger values are mistakes and exceed the range of dates.
_SECONDS_MAXIMUM = 36_500 * 86400


def expires_after(file: BinaryIO, size: int) -> int | None:
    """Return the value of the label in seconds; None if the file has no such label."""
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
    """Parse a value of the label, such as `2h`; return None for invalid ones, as in Quay."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        return None
    return seconds if 0 < seconds <= _SECONDS_MAXIMUM else None
