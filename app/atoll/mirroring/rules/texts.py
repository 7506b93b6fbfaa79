"""Texts in settings, which appear in headers of requests, in log entries and on terminals."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

# Keys of cloud services, which serve as passwords, are documents with several lines.
_IN_PASSWORDS = frozenset("\t\n\r")


def printable(text: str) -> str:
    """Return a text without control characters and other invisible characters.

    Raises:
        ValueError: The text has such a character.
    """
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


def _password(text: str) -> str:
    if any(unicodedata.category(one) == "Cc" for one in text if one not in _IN_PASSWORDS):
        raise ValueError("must not contain control characters other than tabs and line breaks")
    return text


Robot = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(printable)]
Username = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(printable)]
Password = Annotated[str, Field(max_length=64 * 1024), AfterValidator(_password)]
