"""Post JSON to an address that somebody typed in: never to where only this machine may go.

Webhooks make the registry speak to addresses of its users' choice. So a name is resolved here, each
of its addresses is judged, and the connection goes to the very one that was judged (a second
look-up could answer otherwise); redirects are not followed, and no proxy of the environment is
asked.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from atoll.config import Bundle

# Seconds to connect and for each wait for the receiver, and for the whole.
_PATIENCE, _WHOLE = 5.0, 20.0
_PORTS = {"http": 80, "https": 443}
# Where clouds serve a machine its credentials, beside the link-local 169.254.169.254.
_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")
)
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(Exception):
    """The registry does not speak to this address; the text says why and what to do."""


class NotReceived(Exception):
    """The receiver could not be reached, or did not say that it was well. Names no secret."""


@dataclass(frozen=True)
class Receivers:
    """Speaks to receivers. ALLOWED are hosts, or networks, that are spoken to whatever they are."""

    allowed: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    @classmethod
    def from_bundle(cls, bundle: Bundle, ca_bundle: str | None) -> Receivers:
        """Return what SSRF_ALLOWED_HOSTS and WEBHOOK_HOSTNAME_BLACKLIST say.

        CA_BUNDLE is a file of certificates that TLS is checked against.
        """
        return cls(
            frozenset(host.lower() for host in bundle.ssrf_allowed_hosts),
            frozenset(host.lower() for host in bundle.webhook_hostname_blacklist),
            ssl.create_default_context(cafile=ca_bundle),
        )

    def check(self, url: str) -> None:
        """Raise AddressRefused if URL can be seen not to do without asking for its name."""
        parts = _split(url)
        host = parts.hostname or ""
        if host in self.forbidden:
            raise AddressRefused(f"the host '{host}' is in WEBHOOK_HOSTNAME_BLACKLIST")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return
        self._judge(host, address)

    def post(self, url: str, document: Mapping[str, Any]) -> None:
        """Post DOCUMENT as JSON. Raises AddressRefused or NotReceived."""
        self.check(url)
        parts = _split(url)
        port = parts.port or _PORTS[parts.scheme]
        connection = _Connection(parts, self._resolve(parts.hostname or "", port), port, self.tls)
        # A receiver that sends a byte now and then would hold the deliverer for ever.
        watchdog = threading.Timer(_WHOLE, connection.break_off)
        watchdog.start()
        try:
            connection.request(
                "POST",
                (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
                json.dumps(document).encode(),
                {"Content-Type": "application/json", "User-Agent": "atoll", "Host": parts.netloc},
            )
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "verify_message", None) or type(error).__name__
            raise NotReceived(f"'{parts.hostname}' did not answer: {reason}") from error
        finally:
            watchdog.cancel()
            connection.close()
        if not http.client.OK <= status < http.client.MULTIPLE_CHOICES:
            raise NotReceived(f"'{parts.hostname}' answered with status {status}")

    def _resolve(self, host: str, port: int) -> str:
        """Return an address of HOST that may be spoken to, or raise."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NotReceived(f"the name '{host}' cannot be resolved") from error
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            self._judge(host, ipaddress.ip_address(address.partition("%")[0]))
        return addresses[0]

    def _judge(self, host: str, address: _Address) -> None:
        plain = getattr(address, "ipv4_mapped", None) or address
        if host in self.allowed or any(_within(plain, network) for network in self.allowed):
            return
        if (
            plain.is_loopback
            or plain.is_link_local
            or plain.is_unspecified
            or plain.is_multicast
            or plain.is_reserved
            or plain in _METADATA
        ):
            raise AddressRefused(
                f"'{host}' is an address of this machine or its surroundings, which the registry"
                " does not speak to; an operator can allow it in SSRF_ALLOWED_HOSTS"
            )


class _Connection(http.client.HTTPConnection):
    """A connection to an address that was judged, with TLS for the name that was asked for."""

    def __init__(self, parts: SplitResult, address: str, port: int, tls: ssl.SSLContext) -> None:
        super().__init__(parts.hostname or "", port, timeout=_PATIENCE)
        self._address = address
        self._tls = tls if parts.scheme == "https" else None

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = plain
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)

    def break_off(self) -> None:
        """End the connection from another thread."""
        if self.sock is not None:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return


def _split(url: str) -> SplitResult:
    """Return the parts of URL, or raise AddressRefused."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, usable = urlsplit(""), False
    if not usable or parts.scheme not in _PORTS or parts.username or any(c <= " " for c in url):
        raise AddressRefused("url must be http:// or https://, a host, and a path")
    return parts


def _within(address: _Address, network: str) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except (ValueError, TypeError):
        return False
