"""Parsing of destination URLs into the parts of a request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from atoll.config.hosts import canonical_host
from atoll.outbound.errors import InvalidDestination

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Characters that RFC 3986 permits in paths and queries; others are percent-encoded as in RFC 3987.
_PATH_CHARACTERS = "/:@!$&'()*+,;=~%-._"
_QUERY_CHARACTERS = _PATH_CHARACTERS + "?"
_LONE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Destination:
    """A destination of requests.

    Attributes:
        scheme: `http` or `https`.
        host: The host name or address, in canonical form.
        port: The port.
        target: The request target, in ASCII.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """The scheme, host and port, to which credentials are bound."""
        return self.scheme, self.host, self.port

    @property
    def host_header(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL in canonical form."""
        return f"{self.scheme}://{self.host_header}{self.target}"


def parse(url: str) -> Destination:
    """Parse the URL of a destination.

    Raises:
        InvalidDestination: The URL is not an HTTP URL, or contains credentials.
    """
    # urlsplit drops some of these silently, and parsers disagree about backslashes.
    if any(character <= " " or character in "\\\x7f" for character in url):
        raise _malformed()
    try:
        parts = urlsplit(url)
        host = canonical_host(parts.hostname or "")
        port = _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
        target = _encoded(parts.path or "/", _PATH_CHARACTERS)
        if parts.query:
            target += "?" + _encoded(parts.query, _QUERY_CHARACTERS)
    except (ValueError, KeyError) as error:
        raise _malformed() from error
    if port == 0 or "@" in parts.netloc:
        raise _malformed()
    return Destination(parts.scheme, host, port, target)


def _encoded(text: str, kept: str) -> str:
    return quote(_LONE_PERCENT.sub("%25", text), safe=kept)


def _malformed() -> InvalidDestination:
    return InvalidDestination(
        "url must be an http:// or https:// URL with a host, without a user name or spaces"
    )
