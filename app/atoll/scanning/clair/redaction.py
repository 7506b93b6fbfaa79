"""Redaction of addresses and credentials in the messages of a scanner.

Clair quotes the address of a layer when it cannot fetch it. A presigned URL gives access to the
layer to everyone who reads it, so neither a message nor a log may contain one.
"""

from __future__ import annotations

import re

TEXT_MAXIMUM = 500
_ADDRESS = "[address]"
# A string as Go quotes it.
_QUOTED = r'"(?:[^"\\]|\\.)*"?'

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # The beginning of a store's answer, which may repeat parts of the request.
    (re.compile(r"\s*\(body starts:.*", re.DOTALL), ""),
    (re.compile(rf"\b(Get|Head|Post|Put|parse) {_QUOTED}(?=:|$)"), rf"\1 {_ADDRESS}"),
    (re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*:\\?/\\?/[^\s\"'<>`]*"), _ADDRESS),
    (re.compile(r"\?[^\s\"'?]*=[^\s\"']*"), "?[query]"),
    (re.compile(r"(?i)\bX-Amz-[\w-]+=[^\s\"']*"), "[query]"),
    (re.compile(r"\b(?:Bearer|Basic) [^\s\"']+"), "[credentials]"),
    (re.compile(r"\beyJ[\w-]+\.[\w.-]*"), "[credentials]"),
    (re.compile(r"\b(lookup) \S+?(?: on \S+?)?(?=:?(?:\s|$))"), rf"\1 {_ADDRESS}"),
    (re.compile(r"\b(dial|read|write) (tcp|udp)[46]? \S+?(?=:?(?:\s|$))"), rf"\1 \2 {_ADDRESS}"),
    (re.compile(r"\b(valid for) .*?\bnot \S+", re.DOTALL), rf"\1 other names than {_ADDRESS}"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), _ADDRESS),
    (re.compile(r"\b[\w-]+(?:\.[\w-]+)+:\d{2,5}\b"), _ADDRESS),
    (re.compile(r"\[[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*\](?::\d+)?"), _ADDRESS),
    (re.compile(r"[\x00-\x1f\x7f]+"), " "),
)


def redact(text: str) -> str:
    """Return a text without addresses, query strings, credentials and control characters.

    It has at most TEXT_MAXIMUM characters.
    """
    # The first cut bounds the work. A text is shortened after it was redacted, because the rest
    # of an address would not be recognized.
    found = text[: 20 * TEXT_MAXIMUM]
    for pattern, replacement in _RULES:
        found = pattern.sub(replacement, found)
    found = found.strip()
    return found if len(found) <= TEXT_MAXIMUM else f"{found[: TEXT_MAXIMUM - 3]}..."
