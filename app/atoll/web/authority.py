"""The registry's address as this client knows it, for URLs that the client is to follow.

A client may have come through the load balancer or to one site directly; where it came from is
where it is sent again.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import falcon

from atoll.config import Bundle

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::\d{1,5})?", re.ASCII)


class Authority:
    """Builds absolute URLs. nginx says in X-Forwarded-Proto how the client came in."""

    def __init__(self, bundle: Bundle) -> None:
        self._hostname = bundle.server_hostname
        self._external_tls = bundle.external_tls_termination
        self._preferred_scheme = bundle.preferred_url_scheme

    def url(self, req: falcon.Request, path: str) -> str:
        """Return the URL of PATH at the address that the client used."""
        return f"{self._scheme(req)}://{self._host(req)}{path}"

    def covers(self, req: falcon.Request, url: str) -> bool:
        """Tell whether URL's host is the one that this client used, or below it; ports differ.

        Programs written in Go send their credentials along when they are sent there.
        """
        ours, other = urlsplit(f"//{self._host(req)}").hostname, urlsplit(url).hostname
        return bool(ours and other and (other == ours or other.endswith(f".{ours}")))

    def _host(self, req: falcon.Request) -> str:
        """Return host and port: X-Forwarded-Host, Host or, if neither is valid, our own name."""
        forwarded = (req.get_header("X-Forwarded-Host") or "").partition(",")[0].strip()
        given = (forwarded, req.get_header("Host") or "")
        return next(filter(_is_host, given), self._hostname)

    def _scheme(self, req: falcon.Request) -> str:
        if self._external_tls:
            return self._preferred_scheme
        return "https" if req.get_header("X-Forwarded-Proto") == "https" else "http"


def _is_host(text: str) -> bool:
    """Return whether TEXT is a host name or an IP address, perhaps with a port."""
    match = _HOST.fullmatch(text)
    if match is None or match["ipv6"] is None:
        return match is not None
    try:
        ipaddress.IPv6Address(match["ipv6"])
    except ValueError:
        return False
    return True
