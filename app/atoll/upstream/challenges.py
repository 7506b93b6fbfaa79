"""Parsing of WWW-Authenticate: one header may contain several challenges (RFC 9110, 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"\s*({_WORD})(?:\s+|\s*(?=,|$))")
_PARAMETER = re.compile(rf'\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))\s*')
_SEPARATOR = re.compile(r"[\s,]*")
_ESCAPED = re.compile(r"\\(.)")
# Characters of a header that are parsed; a real one has a few hundred.
_MAXIMUM = 8192


@dataclass(frozen=True)
class Challenge:
    """A challenge.

    Attributes:
        scheme: The authentication scheme in lower case.
        parameters: The parameters; their names are in lower case.
    """

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Return the challenges of all WWW-Authenticate headers; malformed rests are ignored."""
    return [challenge for header in headers for challenge in _parse(header[:_MAXIMUM])]


def _parse(header: str) -> list[Challenge]:
    challenges: list[Challenge] = []
    position = 0
    while position < len(header):
        separator = _SEPARATOR.match(header, position)
        position = separator.end() if separator else position
        parameter = _PARAMETER.match(header, position)
        if parameter is not None and challenges:
            name, quoted, plain = parameter.groups()
            value = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
            challenges[-1].parameters.setdefault(name.lower(), value)
            position = parameter.end()
            continue
        scheme = _SCHEME.match(header, position)
        if scheme is None:
            # For example the token68 of a Negotiate challenge.
            comma = header.find(",", position)
            if comma < 0:
                break
            position = comma
            continue
        challenges.append(Challenge(scheme[1].lower()))
        position = scheme.end()
    return challenges
