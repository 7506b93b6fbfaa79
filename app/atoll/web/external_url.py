"""URLs of the registry in responses, at the address that the client used.

A client may connect through the load balancer or directly to a site. URLs in the response point to
the same address.
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
    """Build absolute URLs. nginx sets X-Forwarded-Proto to the scheme that the client used."""

    def __init__(self, bundle: Bundle) -> None:
        self._hostname = bundle.server_hostname
        self._external_tls = bundle.external_tls_termination
        self._preferred_scheme = bundle.preferred_url_scheme
        self._trusted = bundle.trusted_proxies

    def url(self, req: falcon.Request, path: str) -> str:
        """Return the URL of a path at the address that the client used."""
        return f"{self.scheme(req)}://{self._host(req)}{path}"

    def is_below_client_host(self, req: falcon.Request, url: str) -> bool:
        """Return whether the host of `url` is the host that the client used, or a subdomain of it.

        Ports may differ. HTTP clients written in Go forward credentials to such a host on redirect.
        """
        return _is_host_or_subdomain(self._host(req), url)

    def is_below_registry(self, url: str) -> bool:
        """Return whether the host of `url` is SERVER_HOSTNAME or a subdomain of it."""
        return _is_host_or_subdomain(self._hostname, url)

    def own_hosts(self, req: falcon.Request) -> set[str]:
        """Return the hosts, with ports, by which a browser may address the registry."""
        return {self._host(req), self._hostname}

    def _host(self, req: falcon.Request) -> str:
        """Return the host and port that the client used.

        A load balancer that changes Host passes the original in X-Forwarded-Host. Any client can
        send that header, so it is read only in requests from TRUSTED_PROXIES.
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


def _is_host_or_subdomain(host: str, url: str) -> bool:
    domain, other = urlsplit(f"//{host}").hostname, urlsplit(url).hostname
    return bool(domain and other and (other == domain or other.endswith(f".{domain}")))


def _is_host(text: str) -> bool:
    """Return whether a text is a host name or an IP address, optionally with a port."""
    match = _HOST.fullmatch(text)
    if match is None or match["ipv6"] is None:
        return match is not None
    try:
        ipaddress.IPv6Address(match["ipv6"])
    except ValueError:
        return False
    return True
