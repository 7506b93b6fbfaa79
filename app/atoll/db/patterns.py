"""Patterns of LIKE."""

from __future__ import annotations

import re


def escape_pattern(text: str) -> str:
    """Return a LIKE pattern that matches the text literally."""
    return re.sub(r"([\\%_])", r"\\\1", text)
