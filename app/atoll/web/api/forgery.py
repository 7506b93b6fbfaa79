"""Protection against cross-site request forgery (CSRF).

Browsers attach cookies and cached HTTP Basic credentials to requests that another site's page
triggers. A bearer token is attached by the client's own code only, so these requests need no check.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import falcon

from atoll.web.api.errors import ForeignOrigin
from atoll.web.external_url import ExternalUrls

READING = frozenset({"GET", "HEAD", "OPTIONS"})
BEARER = "bearer "
# Values of Sec-Fetch-Site for requests of the registry's own pages, and of the user.
_OWN_SITE = frozenset({"same-origin", "none"})
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def can_be_forged(req: falcon.Request) -> bool:
    """Return whether another site's page could make a browser send this request.

    True for requests that may change something and carry no bearer token.
    """
    header = req.get_header("Authorization") or ""
    return req.method not in READING and not header.lower().startswith(BEARER)


def refuse_foreign_origin(req: falcon.Request, external_urls: ExternalUrls) -> None:
    """Refuse a request that a page of another origin made the browser send.

    Only browsers send these headers. `same-site` is refused as well: pages at other host names of
    the same domain do not belong to the registry.

    Raises:
        ForeignOrigin: The request can be forged, and `Sec-Fetch-Site` (W3C Fetch Metadata) or
            `Origin` (RFC 6454) names another origin.
    """
    if not can_be_forged(req):
        return
    site, origin = req.get_header("Sec-Fetch-Site"), req.get_header("Origin")
    if site is not None and site not in _OWN_SITE:
        raise ForeignOrigin
    if origin is not None and not _is_own(origin, req, external_urls):
        raise ForeignOrigin


def _is_own(origin: str, req: falcon.Request, external_urls: ExternalUrls) -> bool:
    """Return whether an origin is the registry's, at the address that the client used.

    The scheme is compared only if the client is known to use TLS, because a load balancer that
    terminates TLS may not report it.
    """
    try:
        scheme, host = urlsplit(origin)[:2]
    except ValueError:
        return False
    if scheme not in _DEFAULT_PORTS or (scheme == "http" and external_urls.scheme(req) == "https"):
        return False
    return _without_port(host, scheme) in {
        _without_port(own, scheme) for own in external_urls.own_hosts(req)
    }


def _without_port(host: str, scheme: str) -> str:
    return host.lower().removesuffix(_DEFAULT_PORTS[scheme])
