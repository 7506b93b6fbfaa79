"""Convert the markup of Ansible's documentation to Markdown."""

from __future__ import annotations

import re

_CODE = re.compile(r"\b(?:O|V|RV|E|C|M|P)\(([^)]*)\)")
_ITALIC = re.compile(r"\bI\(([^)]*)\)")
_BOLD = re.compile(r"\bB\(([^)]*)\)")
_LINK = re.compile(r"\bL\(([^,)]*),\s*([^)]*)\)")
_URL = re.compile(r"\bU\(([^)]*)\)")


def plain(text: str) -> str:
    """Return TEXT in Markdown."""
    text = _CODE.sub(r"`\1`", str(text))
    text = _ITALIC.sub(r"*\1*", text)
    text = _BOLD.sub(r"**\1**", text)
    text = _LINK.sub(r"[\1](\2)", text)
    return _URL.sub(r"<\1>", text)
