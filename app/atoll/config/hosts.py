"""Canonical host names, and parsing of lists of hosts and networks."""

from __future__ import annotations

import ipaddress
import re
import socket

import idna

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAME_LENGTH_MAXIMUM = 253
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# Names that the C library parses as IPv4 addresses, such as 127.1, 0x7f.1 and 2130706433.
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


def canonical_host(host: str) -> str:
    """Return a host name in lower-case ASCII without a trailing dot, or a canonical address.

    All notations that the C library accepts for an IPv4 address are converted to dotted decimal.

    Raises:
        ValueError: The text is neither a host name nor an address.
    """
    try:
        return str(_address(host))
    except ValueError:
        name = _ascii(host).removesuffix(".")
    if len(name) > _NAME_LENGTH_MAXIMUM or not _NAME.fullmatch(name):
        raise ValueError(f"'{host}' is not a host name")
    if not _NUMERIC.fullmatch(name):
        return name
    try:
        return str(ipaddress.IPv4Address(socket.inet_aton(name)))
    except OSError as error:
        raise ValueError(f"'{host}' is neither a host name nor an address") from error


def host_rule(entry: str) -> str | Network:
    """Parse an entry of a list: a network, a single address (as a network), or a host name.

    Raises:
        ValueError: The entry is none of these.
    """
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        host = canonical_host(entry)
    try:
        return ipaddress.ip_network(host)
    except ValueError:
        return host


def checked_host_rule(entry: str) -> str:
    """Validate an entry of a list of hosts and return it unchanged.

    Raises:
        ValueError: The entry is not a host name, an address or a network.
    """
    try:
        host_rule(entry)
    except ValueError as error:
        raise ValueError(
            f"'{entry}' is not a host name, an address or a network; use the form"
            " hooks.example.com or 10.1.0.0/16, without scheme, port or wildcards"
        ) from error
    return entry


def _address(host: str) -> Address:
    # A zone refers to an interface of this machine.
    if "%" in host:
        raise ValueError(f"'{host}' has a zone")
    return ipaddress.ip_address(host)


def _ascii(host: str) -> str:
    """Return a host name in lower case, with internationalized labels in Punycode."""
    if host.isascii():
        return host.lower()
    if len(host) > _NAME_LENGTH_MAXIMUM:
        raise ValueError(f"'{host}' is too long for a host name")
    try:
        return idna.encode(host, uts46=True, transitional=False).decode().lower()
    except UnicodeError as error:
        raise ValueError(f"'{host}' is not an internationalized host name") from error
