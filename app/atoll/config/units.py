"""Units of the values in a bundle."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

_SIZE_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def parse_size(value: Any) -> int:
    """Return the number of bytes of an integer or of text such as `20G` or `512M`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("must be a number of bytes, or a number and K, M, G or T, such as 20G")
    return int(match[1]) * _SIZE_UNITS[match[2].upper()]


Size = Annotated[int, BeforeValidator(parse_size)]
