"""Warnings about unencrypted connections and unknown client addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

# Tuples, because values that are compared with them may be unhashable.
_ENCRYPTED = ("require", "verify-ca", "verify-full")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_REDIS_KEYS = ("BUILDLOGS_REDIS", "USER_EVENTS_REDIS")
_PROXIES = "TRUSTED_PROXIES"


def exposure_warnings(values: Mapping[str, Any]) -> list[str]:
    """Return a message for each unprotected connection and for missing TRUSTED_PROXIES.

    Args:
        values: The content of a `config.yaml`. Values of a wrong type are skipped; the model
            reports them.
    """
    found = _database_warnings(values)
    for key in _REDIS_KEYS:
        found += _redis_warnings(key, values.get(key))
    if _PROXIES not in values:
        found.append(
            f"{_PROXIES}: is missing, so all clients behind a load balancer share its address in"
            " the log and in the counts of failed logins; list the load balancers' addresses, or"
            " set [] if clients connect directly"
        )
    return found


def _database_warnings(values: Mapping[str, Any]) -> list[str]:
    arguments = values.get("DB_CONNECTION_ARGS")
    shared = arguments if isinstance(arguments, Mapping) else {}
    found = [] if _encrypted(values.get("DB_URI"), shared) else [_unencrypted("DB_URI", "")]
    replicas = values.get("DB_READ_REPLICAS")
    for number, replica in enumerate(replicas if isinstance(replicas, list) else []):
        if not isinstance(replica, Mapping):
            continue
        own = replica.get("DB_CONNECTION_ARGS")
        merged = {**shared, **(own if isinstance(own, Mapping) else {})}
        if not _encrypted(replica.get("DB_URI"), merged):
            name = f"DB_READ_REPLICAS.{number}."
            found.append(_unencrypted(f"{name}DB_URI", name))
    return found


def _unencrypted(key: str, prefix: str) -> str:
    return (
        f"{key}: connections to PostgreSQL may be unencrypted; set sslmode: verify-full and"
        f" sslrootcert in {prefix}DB_CONNECTION_ARGS"
    )


def _encrypted(uri: Any, arguments: Mapping[str, Any]) -> bool:
    """Return whether connections are encrypted, or local to this machine."""
    if not isinstance(uri, str):
        return True
    try:
        parts = urlsplit(uri)
        query = parse_qs(parts.query)
    except ValueError:
        return True
    # As in atoll.db, an argument overrides the parameter of the same name in the URI.
    mode = arguments.get("sslmode") or (query.get("sslmode") or ["prefer"])[-1]
    hosts = _hosts(parts.netloc.rpartition("@")[2]) or ",".join(query.get("host", [])).split(",")
    local = all(not host or host.startswith("/") or host in _LOOPBACK for host in hosts)
    return mode in _ENCRYPTED or local


def _hosts(authority: str) -> list[str]:
    """Return the hosts of an authority such as `db-1:5432,db-2` or `[::1]:5432`."""
    return [
        name.partition("]")[0][1:] if name.startswith("[") else name.partition(":")[0]
        for name in authority.split(",")
        if name
    ]


def _redis_warnings(key: str, settings: Any) -> list[str]:
    if not isinstance(settings, Mapping) or settings.get("host") in _LOOPBACK:
        return []
    found = []
    if settings.get("ssl") not in (True, "true", "yes"):
        found.append(
            f"{key}: the connection to Redis is unencrypted; set ssl: true, and ssl_ca_certs for a"
            " private certificate authority"
        )
    if not settings.get("password"):
        found.append(
            f"{key}: Redis is used without a password, so any host that reaches it can change"
            " cached permissions; set password"
        )
    return found
