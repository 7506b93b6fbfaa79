"""HTTP proxies: which one a request is sent through.

With a proxy, host names are resolved by the proxy, so a registry without DNS and without a route to
the Internet can reach an upstream.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import unquote

from atoll.config.hosts import canonical_host
from atoll.outbound.destination import Destination, parse
from atoll.outbound.errors import InvalidDestination


@dataclass(frozen=True)
class Proxy:
    """A proxy.

    Attributes:
        destination: Its address.
        authorization: The value of Proxy-Authorization, if the URL has a user name.
        trusted: Whether the operator chose it, so that it may have any address.
    """

    destination: Destination
    authorization: str | None = field(default=None, repr=False)
    trusted: bool = False

    @classmethod
    def parse(cls, url: str, *, trusted: bool = False) -> Proxy:
        """Parse the URL of a proxy; the scheme `http` may be omitted.

        Raises:
            InvalidDestination: The URL is malformed.
        """
        scheme, separator, rest = url.rpartition("://")
        scheme = scheme if separator else "http"
        address, slash, path = rest.partition("/")
        credentials, at, host = address.rpartition("@")
        try:
            destination = parse(f"{scheme}://{host}{slash}{path}")
        except InvalidDestination as error:
            # The URL itself may contain a password.
            raise InvalidDestination(
                "the URL of a proxy must have the form http://HOST:PORT or"
                " http://USER:PASSWORD@HOST:PORT"
            ) from error
        encoded = base64.b64encode(unquote(credentials).encode()).decode()
        return cls(destination, f"Basic {encoded}" if at else None, trusted)


@dataclass(frozen=True)
class _Exception:
    """An entry of no_proxy: a host, a domain, an address or a network, with or without a port."""

    host: str
    port: int | None

    def matches(self, destination: Destination) -> bool:
        if self.port not in {None, destination.port}:
            return False
        if self.host == "*":
            return True
        try:
            return ipaddress.ip_address(destination.host) in ipaddress.ip_network(
                self.host, strict=False
            )
        except ValueError:
            pass
        name = self.host.removeprefix("*")
        if name.startswith("."):
            return destination.host.endswith(name)
        return destination.host == name or destination.host.endswith(f".{name}")


@dataclass(frozen=True)
class Proxies:
    """The proxies for requests by `http` and `https`, and the hosts that are reached directly.

    As in other container tools, an entry of no_proxy is `*`, an address, a network, or a domain,
    which includes its subdomains; `.example.com` includes the subdomains only. A port limits an
    entry to that port.
    """

    http: Proxy | None = None
    https: Proxy | None = None
    exceptions: tuple[_Exception, ...] = ()

    @classmethod
    def of(
        cls,
        http: str | None = None,
        https: str | None = None,
        no_proxy: str | None = None,
        *,
        trusted: bool = False,
    ) -> Proxies:
        """Parse the settings of proxies; empty ones are ignored.

        Args:
            http: The URL of the proxy for `http`.
            https: The URL of the proxy for `https`.
            no_proxy: A list of exceptions, separated by commas.
            trusted: Whether the operator chose the proxies.

        Raises:
            InvalidDestination: A URL is malformed.
        """
        entries = (entry.strip() for entry in (no_proxy or "").split(","))
        return cls(
            Proxy.parse(http, trusted=trusted) if http else None,
            Proxy.parse(https, trusted=trusted) if https else None,
            tuple(_exception(entry) for entry in entries if entry),
        )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Proxies:
        """Return the proxies that the operator set in the environment of the process."""

        def variable(name: str) -> str | None:
            return environment.get(name.lower()) or environment.get(name)

        return cls.of(
            variable("HTTP_PROXY"), variable("HTTPS_PROXY"), variable("NO_PROXY"), trusted=True
        )

    def find(self, destination: Destination) -> Proxy | None:
        """Return the proxy for a request; None if it is sent directly."""
        if any(one.matches(destination) for one in self.exceptions):
            return None
        return self.https if destination.scheme == "https" else self.http


def _exception(entry: str) -> _Exception:
    host, colon, port = entry.rpartition(":")
    # An IPv6 address has more than one colon; with a port it is in brackets.
    if not colon or not port.isdecimal() or (":" in host and not host.endswith("]")):
        host, port = entry, ""
    host = host.strip("[]").lower()
    prefix = "." if host.startswith(".") else ""
    # A network and `*` are no host names.
    with suppress(ValueError):
        host = prefix + canonical_host(host.removeprefix("."))
    return _Exception(host, int(port) if port else None)
