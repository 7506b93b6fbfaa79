"""Rules for destinations: SSRF_ALLOWED_HOSTS and WEBHOOK_HOSTNAME_BLACKLIST.

As in Quay, hosts and networks in SSRF_ALLOWED_HOSTS may have any address; all others must be
public. The blacklist takes precedence.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from atoll.config import Bundle
from atoll.config.hosts import Address, Network, host_rule
from atoll.outbound.addresses import embedded, is_public, plain
from atoll.outbound.destination import Destination
from atoll.outbound.errors import DestinationRefused, InvalidDestination

# As in Quay: names of services inside a network or cluster, which are not public regardless of
# their addresses.
_INTERNAL_NAMES = frozenset(
    {
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "metadata",
    }
)
_INTERNAL_SUFFIXES = (".internal", ".local", ".localhost")


@dataclass(frozen=True)
class Rules:
    """A list of hosts and networks."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> Rules:
        """Parse the entries of a bundle's key.

        Raises:
            ValueError: An entry is not a host name, an address or a network.
        """
        rules = [host_rule(entry) for entry in entries]
        return cls(
            frozenset(rule for rule in rules if isinstance(rule, str)),
            tuple(rule for rule in rules if not isinstance(rule, str)),
        )

    def contain(self, addresses: Iterable[Address]) -> bool:
        """Return whether one of the networks contains one of the addresses."""
        return any(address in network for address in addresses for network in self.networks)


@dataclass(frozen=True)
class DestinationPolicy:
    """Permits or forbids destinations."""

    allowed: Rules = Rules()
    forbidden: Rules = Rules()

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> DestinationPolicy:
        """Return the policy that the bundle configures."""
        return cls(Rules.of(bundle.ssrf_allowed_hosts), Rules.of(bundle.webhook_hostname_blacklist))

    def check(self, destination: Destination) -> None:
        """Check a destination as far as possible without resolving its host.

        Raises:
            InvalidDestination: The host is forbidden, or is an address that is not permitted.
        """
        host = destination.host
        if host in self.forbidden.names:
            raise InvalidDestination(f"the host '{host}' is in WEBHOOK_HOSTNAME_BLACKLIST")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return
        if reason := self._reason(host, address):
            raise InvalidDestination(reason)

    def check_addresses(self, host: str, addresses: Sequence[Address]) -> None:
        """Check the addresses that a host resolved to; all of them must be permitted.

        Raises:
            DestinationRefused: An address is not permitted. The text is for operators.
        """
        for address in addresses:
            if reason := self._reason(host, address):
                raise DestinationRefused(f"{reason} (it resolved to {address})")

    def check_unresolved(self, host: str) -> None:
        """Check a host that a proxy resolves.

        Its address is unknown, so only literal addresses and names of internal services can be
        refused; the proxy's own rules have to refuse others.

        Raises:
            DestinationRefused: The host is not permitted. The text is for operators.
        """
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            if _is_internal(host) and host not in self.allowed.names:
                raise DestinationRefused(_not_public(host)) from None
            return
        if reason := self._reason(host, address):
            raise DestinationRefused(reason)

    def _reason(self, host: str, address: Address) -> str | None:
        """Return the reason for refusing a request to the host; None if it is permitted."""
        if host in self.forbidden.names or self.forbidden.contain((address, *embedded(address))):
            return f"the host '{host}' is in WEBHOOK_HOSTNAME_BLACKLIST"
        if host in self.allowed.names or self.allowed.contain((address, plain(address))):
            return None
        if not _is_internal(host) and is_public(address):
            return None
        return _not_public(host)


def _is_internal(host: str) -> bool:
    return host in _INTERNAL_NAMES or host.endswith(_INTERNAL_SUFFIXES)


def _not_public(host: str) -> str:
    return (
        f"the host '{host}' is not a public address; an operator can allow the host or its"
        " network in SSRF_ALLOWED_HOSTS"
    )
