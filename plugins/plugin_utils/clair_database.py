"""The servers and the name of a PostgreSQL database, from a URI or from libpq's keywords."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

_POSTGRES_PORT = 5432
_LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")
_KEYWORD = re.compile(r"(\w+)\s*=\s*('(?:\\.|[^'\\])*'|\S*)")
_SERVER = re.compile(r"(\[[^\]]+\]|[^:]*)(?::(\d+))?")


@dataclass(frozen=True)
class Database:
    """A PostgreSQL database.

    Attributes:
        servers: Hosts in lower case and ports, in the order in which clients try them.
        name: The name of the database.
    """

    servers: tuple[tuple[str, int], ...]
    name: str

    def shared_server(self, other: Database) -> tuple[str, int] | None:
        """Return a server on which both are the same database; None for different databases.

        Names are not resolved, but all names and addresses of the local host are the same.
        """
        if self.name != other.name:
            return None
        others = {(_canonical(host), port) for host, port in other.servers}
        return next((one for one in self.servers if (_canonical(one[0]), one[1]) in others), None)


def parse_database(address: str) -> Database | None:
    """Return the database at an address; nothing if the address names no host.

    Args:
        address: A URI such as postgresql://USER:PASSWORD@HOST:PORT/NAME, or keywords such as
            host=HOST dbname=NAME.
    """
    if "://" in address:
        return _from_uri(address)
    return _from_keywords(address)


def _from_uri(address: str) -> Database | None:
    rest, _question, query = address.partition("://")[2].partition("?")
    options = {key: values[-1] for key, values in parse_qs(query).items()}
    authority, _slash, path = rest.rpartition("@")[2].partition("/")
    user = unquote(rest.rpartition("@")[0].partition(":")[0])
    servers = [_server(unquote(server)) for server in authority.split(",")]
    if options.get("host"):
        servers = _servers(options["host"], options.get("port", ""))
    name = options.get("dbname") or unquote(path) or user
    return _database(servers, name)


def _from_keywords(text: str) -> Database | None:
    options = {}
    for key, value in _KEYWORD.findall(text):
        quoted = value.startswith("'")
        options[key] = re.sub(r"\\(.)", r"\1", value[1:-1]) if quoted else value
    servers = _servers(options.get("host", ""), options.get("port", ""))
    return _database(servers, options.get("dbname") or options.get("user", ""))


def _servers(hosts: str, ports: str) -> list[tuple[str, int]]:
    """Return the servers of two lists; a single port holds for all hosts."""
    names = hosts.split(",")
    numbers = ports.split(",")
    if len(numbers) == 1:
        numbers *= len(names)
    return [
        (name.strip("[]"), int(number) if number.isdecimal() else _POSTGRES_PORT)
        for name, number in zip(names, numbers, strict=False)
    ]


def _canonical(host: str) -> str:
    """Return the same text for all names and notations of a host."""
    name = host.rstrip(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return "localhost" if name in _LOCAL_NAMES else name
    return "localhost" if address.is_loopback else address.compressed


def _server(text: str) -> tuple[str, int]:
    found = _SERVER.fullmatch(text)
    if not found:
        return "", _POSTGRES_PORT
    return found[1].strip("[]"), int(found[2] or _POSTGRES_PORT)


def _database(servers: list[tuple[str, int]], name: str) -> Database | None:
    known = tuple((host.lower(), port) for host, port in servers if host)
    return Database(known, name) if known else None
