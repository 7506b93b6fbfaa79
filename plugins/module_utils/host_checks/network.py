"""Check that a host resolves and reaches the servers that the registry uses."""

from __future__ import annotations

import errno
import ipaddress
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.atoll.registry.plugins.module_utils.host_checks.runner import (
    ERROR,
    WARNING,
    Host,
    Problem,
    problem,
)

CONNECT_SECONDS = 5
RESOLVE_SECONDS = 12
# The request of PostgreSQL's protocol that asks the server to continue with TLS, and its consent.
_POSTGRES_TLS_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
_POSTGRES_TLS_ACCEPTED = b"S"
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM)

Address = tuple[Any, ...]


class Unresolved(Exception):
    """A name has no address; the message contains the reason."""


def endpoint(entry: Mapping[str, Any]) -> Iterator[Problem]:
    """Resolve the name of an endpoint, connect to it, and verify its certificate.

    The problems are named after the subject of the endpoint, such as `store-unresolved`.
    """
    subject, server = entry["subject"], f"{entry['host']} ({entry['name']})"
    try:
        found = resolve(entry["host"], entry["port"])
    except Unresolved as error:
        yield problem(
            f"{subject}-unresolved",
            ERROR if entry["required"] else WARNING,
            f"The host cannot resolve {server}: {error}.",
            "Correct the name, or the name servers in /etc/resolv.conf of the host.",
        )
        return
    if entry["protocol"] == "dns":
        return
    try:
        connection = _connect(found)
    except OSError as error:
        yield from _not_connected(entry, error)
        return
    with connection:
        yield from _verify(entry, connection)


def resolve(name: str, port: int) -> list[tuple[int, Address]]:
    """Return the family and the socket address of each address of a name.

    Raises:
        Unresolved: The name has no address, or the name servers do not respond.
    """
    results: list[Any] = []

    def look_up() -> None:
        try:
            results.append(socket.getaddrinfo(name.strip("[]"), port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            results.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(RESOLVE_SECONDS)
    if not results:
        raise Unresolved(f"the name servers did not respond within {RESOLVE_SECONDS} seconds")
    if isinstance(results[0], OSError):
        raise Unresolved(results[0].strerror or str(results[0]))
    if isinstance(results[0], Exception):
        raise Unresolved(str(results[0]))
    return [(found[0], found[4]) for found in results[0]]


def _connect(addresses: Sequence[tuple[int, Address]]) -> socket.socket:
    """Return a connection to the first address that accepts one, as clients do."""
    failure = OSError("there is no address")
    for family, address in addresses:
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(CONNECT_SECONDS)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


def _not_connected(entry: Mapping[str, Any], error: OSError) -> Iterator[Problem]:
    # Before the first rollout, nothing listens on the ports of the registry's own services.
    if entry["deployed_here"] and isinstance(error, ConnectionRefusedError):
        return
    filtered = isinstance(error, TimeoutError) or error.errno in _UNREACHABLE
    timed_out = isinstance(error, (TimeoutError, socket.timeout))
    reason = f"no response within {CONNECT_SECONDS} seconds" if timed_out else error.strerror
    advice = (
        "A firewall or a missing route between the hosts seems to block the connection; permit it."
        if filtered or timed_out
        else "Start the server, or correct its address and port."
    )
    yield problem(
        f"{entry['subject']}-unreachable",
        WARNING if entry["deployed_here"] or not entry["required"] else ERROR,
        f"The host cannot connect to port {entry['port']} of {entry['host']} ({entry['name']}):"
        f" {reason or error}.",
        advice,
    )


def _verify(entry: Mapping[str, Any], connection: socket.socket) -> Iterator[Problem]:
    if entry["protocol"] == "tcp":
        return
    server = f"{entry['host']}:{entry['port']} ({entry['name']})"
    subject = entry["subject"]
    severity = ERROR if entry["required"] else WARNING
    try:
        if entry["protocol"] == "postgres":
            connection.sendall(_POSTGRES_TLS_REQUEST)
            if connection.recv(1) != _POSTGRES_TLS_ACCEPTED:
                yield problem(
                    f"{subject}-tls",
                    severity,
                    f"{server} does not offer TLS, or is not PostgreSQL.",
                    "Enable TLS in PostgreSQL, or correct DB_URI.",
                )
                return
        with tls_context(entry).wrap_socket(connection, server_hostname=entry["host"].strip("[]")):
            return
    except ssl.SSLCertVerificationError as error:
        yield problem(
            f"{subject}-certificate",
            severity,
            f"The host does not trust the certificate of {server}: {error.verify_message}.",
            "Add the CA certificate to registry_extra_ca_files or, for PostgreSQL, to"
            " registry_database_ca_file, or correct the names in the certificate.",
        )
    except OSError as error:
        # An own service that is restarting resets connections.
        yield problem(
            f"{subject}-tls",
            WARNING if entry["deployed_here"] else severity,
            f"The TLS handshake with {server} failed: {error.strerror or error}.",
            "Check that the server serves TLS on this port.",
        )


def tls_context(entry: Mapping[str, Any]) -> ssl.SSLContext:
    """Return the settings of a client with the CA certificates and the checks of an endpoint."""
    context = ssl.create_default_context()
    if entry["ca"]:
        context.load_verify_locations(cadata=entry["ca"])
    if entry["verify"] != "full":
        context.check_hostname = False
    if entry["verify"] == "none":
        context.verify_mode = ssl.CERT_NONE
    return context


def firewall(host: Host, ports: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Find rules of the host's firewall that seem to block the published ports.

    Packets to published ports are redirected to containers, so chains of the hook `input` do not
    apply to them, and chains of the hook `forward` do.
    """
    public = sorted({entry["port"] for entry in ports if not _is_loopback(entry["address"])})
    if not public:
        return
    names = ", ".join(map(str, public))
    strict = re.search(
        r"^StrictForwardPorts=yes", host.read("/etc/firewalld/firewalld.conf"), re.MULTILINE
    )
    if strict and host.run(["systemctl", "is-active", "--quiet", "firewalld.service"])[0] == 0:
        yield problem(
            "firewall-blocks-ports",
            WARNING,
            f"StrictForwardPorts of firewalld seems to block the published ports {names}.",
            "Set StrictForwardPorts=no in /etc/firewalld/firewalld.conf, or forward each port.",
        )
    status, output = host.run(["nft", "--json", "list", "ruleset"])
    if status != 0:
        return
    for chain in _dropping_chains(json.loads(output or "{}").get("nftables", [])):
        yield problem(
            "firewall-blocks-ports",
            WARNING,
            f"The firewall's chain {chain} drops forwarded packets by default, so it seems to block"
            f" the published ports {names}.",
            f"Add a rule `ct status dnat accept` to {chain}, or check that its rules accept them.",
        )


def _dropping_chains(objects: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the chains that drop forwarded packets and have no rule for redirected ones."""
    rules = [entry["rule"] for entry in objects if "rule" in entry]
    for entry in objects:
        chain = entry.get("chain", {})
        if chain.get("hook") != "forward" or chain.get("policy") != "drop":
            continue
        own = [
            json.dumps(rule["expr"])
            for rule in rules
            if all(rule[key] == chain[other] for key, other in _SAME_CHAIN)
        ]
        # Rules of podman are in the chains NETAVARK_FORWARD and NETAVARK_ISOLATION_*.
        if not any("dnat" in text or "NETAVARK" in text for text in own):
            yield f"{chain['family']} {chain['table']} {chain['name']}"


_SAME_CHAIN = (("family", "family"), ("table", "table"), ("chain", "name"))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def clock_offset(before: float, started: float, finished: float, after: float) -> float:
    """Return by how many seconds a clock differs at least: positive if it is ahead.

    Args:
        before: Time of the controller before the transfer of the module.
        started: Time of the host when the module started.
        finished: Time of the host when the module finished.
        after: Time of the controller after the result was received.
    """
    if finished > after:
        return finished - after
    return min(0.0, started - before)
