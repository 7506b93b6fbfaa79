"""The registry's address as this client knows it, for URLs that the client is to follow.

A client may have come through the load balancer or to one site directly; URLs lead back to the same
address.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import falcon

from atoll.config import Bundle
from atoll.web.client_address import is_from_trusted_proxy

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::\d{1,5})?", re.ASCII)


class ExternalUrls:
    """Builds absolute URLs. nginx sets X-Forwarded-Proto to the scheme that the client used."""

    def __init__(self, bundle: Bundle) -> None:
        self._hostname = bundle.server_hostname
        self._external_tls = bundle.external_tls_termination
        self._preferred_scheme = bundle.preferred_url_scheme
        self._trusted = bundle.trusted_proxies

    def url(self, req: falcon.Request, path: str) -> str:
        """Return the URL of PATH at the address that the client used."""
        return f"{self.scheme(req)}://{self._host(req)}{path}"

    def is_below_client_host(self, req: falcon.Request, url: str) -> bool:
        """Return whether the host of `url` is the one that this client used, or below it.

        Ports may differ. Programs written in Go send their credentials along to such a host.
        """
        return _covers(self._host(req), url)

    def is_below_registry(self, url: str) -> bool:
        """Return whether the host of `url` is SERVER_HOSTNAME, or below it."""
        return _covers(self._hostname, url)

    def own_hosts(self, req: falcon.Request) -> set[str]:
        """Return the host names, with ports, under which a browser may know the registry."""
        return {self._host(req), self._hostname}

    def _host(self, req: falcon.Request) -> str:
        """Return the host and port that the client used.

        A load balancer that changes Host passes the client's in X-Forwarded-Host. Anybody can send
        that header, so it counts from TRUSTED_PROXIES only.
        """
        if is_from_trusted_proxy(req, self._trusted):
            forwarded = (req.get_header("X-Forwarded-Host") or "").partition(",")[0].strip()
            if _is_host(forwarded):
                return forwarded
        host = req.get_header("Host") or ""
        return host if _is_host(host) else self._hostname

    def scheme(self, req: falcon.Request) -> str:
        """Return the scheme of the address that the client used."""
        if self._external_tls:
            return self._preferred_scheme
        return "https" if req.get_header("X-Forwarded-Proto") == "https" else "http"


def _covers(host: str, url: str) -> bool:
    ours, other = urlsplit(f"//{host}").hostname, urlsplit(url).hostname
    return bool(ours and other and (other == ours or other.endswith(f".{ours}")))


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
