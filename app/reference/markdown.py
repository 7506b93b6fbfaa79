"""Render tables, paragraphs and pages in Markdown."""

from __future__ import annotations

import html
import json
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

WIDTH = 100
# Code and links stay on one line, so that they can be searched for.
_UNBROKEN = re.compile(r"`[^`]+`|\[[^\]]*\]\([^)]*\)")


def page(title: str, source: str, parts: Iterable[str]) -> str:
    """Return a page that names the SOURCE that it is generated from."""
    notice = f"<!-- Generated from {source} by `make docs`; changes here are lost. -->"
    return "\n\n".join([notice, f"# {title}", *(part.strip("\n") for part in parts)]) + "\n"


def paragraph(text: str, indent: str = "") -> str:
    """Return TEXT wrapped at the documentation's width."""
    joined = _UNBROKEN.sub(lambda found: found[0].replace(" ", "\0"), " ".join(text.split()))
    return textwrap.fill(
        joined,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ).replace("\0", " ")


def item(text: str) -> str:
    """Return a wrapped item of a list."""
    lines = paragraph(text, "  ").splitlines()
    return "\n".join(["- " + lines[0][2:], *lines[1:]])


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells may contain Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def code(value: Any) -> str:
    """Return VALUE as inline code: text as it is, other values as JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    if "|" in text:  # would end a cell of a table, and renderers differ in how it is escaped
        return f"<code>{html.escape(text, quote=False).replace('|', '&#124;')}</code>"
    return f"`{text}`" if text else '`""`'


def block(language: str, text: str) -> str:
    """Return a block of code."""
    return f"```{language}\n{text.strip(chr(10))}\n```"


def sentence(text: str) -> str:
    """Return TEXT with a full stop at its end."""
    text = text.strip()
    return text if not text or text[-1] in ".:!?" else f"{text}."


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")
