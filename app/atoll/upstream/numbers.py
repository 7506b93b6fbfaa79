"""Numbers in responses, which may be malformed or have thousands of digits."""

from __future__ import annotations

from email.message import Message

# Digits of the largest number that is parsed; larger ones are no sizes.
_DIGITS = 18


def natural(text: str) -> int | None:
    """Return the number that consists of ASCII digits; None for any other text."""
    text = text.strip()
    if len(text) > _DIGITS or not (text.isascii() and text.isdecimal()):
        return None
    return int(text)


def content_length(headers: Message) -> int | None:
    """Return the announced size of a body in bytes; None if it is not announced."""
    return natural(headers.get("Content-Length", ""))
