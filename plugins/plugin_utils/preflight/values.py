"""Checks of placeholders, secrets, and settings that belong together."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.files import leaves
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import (
    Host,
    Inventory,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.problems import (
    Problem,
    problem,
)

_PLACEHOLDER_TEXT = re.compile(r"(?:change|replace)[-_ ]?me\b", re.IGNORECASE)
_EXAMPLE_NAME = re.compile(
    r"(?<![\w-])(?:[a-z0-9-]+\.)*(?:example\.(?:com|net|org)|[a-z0-9-]+\.example)(?![\w-]|\.\w)",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])|(?<![\w:])2001:db8:[0-9a-f:]*", re.I
)
_NO_DIGEST = "sha256:" + "0" * 64
_DOCUMENTATION = tuple(
    ipaddress.ip_network(network)
    for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)

# Variables of the inventory that contain addresses and are no options of a role.
_ADDRESSES = ("ansible_host",)

# The secrets that operators choose, and the shortest length that is not reported. The registry's
# own checks report weak values of SECRET_KEY and DATABASE_SECRET_KEY.
_MINIMUM_LENGTHS = {
    "postgres_password": 16,
    "redis_password": 16,
    "clair_psk": 32,
    "INITIAL_SUPERUSER_PASSWORD": 12,
}
_SHORTEST = 8
_COMMON = re.compile(
    r"(?:admin|administrator|atoll|letmein|pass|passw[o0]rd|postgres|qwerty|quay|redis|registry|root"
    r"|secret|test|welcome|abc|123456?7?8?9?0?)*[\d!]*",
    re.IGNORECASE,
)
_MINIMUM_DISTINCT = 5


def placeholder_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield values that were copied from the example inventory."""
    places: dict[str, dict[str, None]] = {}
    hosts: dict[str, dict[str, None]] = {}
    for host in inventory.all():
        for place, value in _settings(host):
            for found in _placeholders(str(value)):
                places.setdefault(found, {})[place] = None
                hosts.setdefault(found, {})[host.name] = None
    for found, names in places.items():
        for name in hosts[found]:
            yield problem(
                "placeholder",
                name,
                f"{found} is used by {', '.join(names)}.",
                "Replace it with a value of your own.",
            )


def _settings(host: Host) -> Iterator[tuple[str, Any]]:
    for name in _ADDRESSES:
        if name in host.raw:
            yield name, host.text(name)
    for role in host.roles:
        for name, value in host.options(role).items():
            # The address of a component is ansible_host by default.
            if name not in host.raw or str(value) == host.text("ansible_host"):
                continue
            yield from leaves(value, name)


def _placeholders(value: str) -> Iterator[str]:
    if _PLACEHOLDER_TEXT.search(value):
        yield "The placeholder of the example"  # The value may be a secret.
    for name in dict.fromkeys(_EXAMPLE_NAME.findall(value)):
        yield f"The example's name {name}"
    for text in dict.fromkeys(_ADDRESS.findall(value)):
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        if any(address in network for network in _DOCUMENTATION):
            yield f"The documentation address {text}"
    if _NO_DIGEST in value:
        yield "A digest of zeros"


def secret_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield secrets that can be guessed, and different secrets with the same value."""
    for host in inventory.all():
        secrets = _secrets(host)
        for name, value in secrets.items():
            yield from _weakness(host, name, value)
    yield from _duplicates(inventory)


def _secrets(host: Host) -> dict[str, str]:
    found = {
        name: host.get(name)
        for role, name in (
            ("postgres", "postgres_password"),
            ("redis", "redis_password"),
            ("clair", "clair_psk"),
        )
        if role in host.components
    }
    is_site = "registry" in host.components or host.is_cluster
    bundle = host.get("registry_config") if is_site else None
    if isinstance(bundle, dict):
        keys = ("SECRET_KEY", "DATABASE_SECRET_KEY", "INITIAL_SUPERUSER_PASSWORD")
        found |= {key: bundle.get(key) for key in keys}
    return {name: str(value) for name, value in found.items() if value}


def _weakness(host: Host, name: str, value: str) -> Iterator[Problem]:
    length = _MINIMUM_LENGTHS.get(name)
    if length is None or _PLACEHOLDER_TEXT.search(value):
        return
    remedy = "Generate one, for example with `openssl rand -hex 32`."
    if len(value) < _SHORTEST or _COMMON.fullmatch(value) or len(set(value)) < _MINIMUM_DISTINCT:
        yield problem("secret-weak", host.name, f"{name} can be guessed.", remedy)
    elif len(value) < length:
        text = f"{name} has {len(value)} characters, fewer than {length}."
        yield problem("secret-weak", host.name, text, remedy, "warning")


def _duplicates(inventory: Inventory) -> Iterator[Problem]:
    owners: dict[str, dict[str, Host]] = {}
    for host in inventory.all():
        for name, value in _secrets(host).items():
            if not _PLACEHOLDER_TEXT.search(value):
                owners.setdefault(value, {}).setdefault(name, host)
    for names in owners.values():
        if len(names) > 1:
            (first, *_others) = names.values()
            yield problem(
                "secret-duplicate",
                first.name,
                f"{', '.join(sorted(names))} have the same value.",
                "Generate a value for each. Keep DATABASE_SECRET_KEY of an existing database.",
                "warning",
            )


def consistency_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield settings of the bundle that do not fit the components of the inventory."""
    postgres = inventory.running("postgres")
    redis = inventory.running("redis")
    for host in inventory.sites():
        bundle = host.get("registry_config")
        if not isinstance(bundle, dict):
            continue
        for server in postgres:
            yield from _database(host, bundle, server)
        for server in redis:
            yield from _redis(host, bundle, server)
        yield from _proxies(host, bundle, inventory)


def _database(host: Host, bundle: dict[str, Any], server: Host) -> Iterator[Problem]:
    try:
        address = urlsplit(str(bundle.get("DB_URI") or ""))
        given = {
            "postgres_password": unquote(address.password or ""),
            "postgres_user": unquote(address.username or ""),
            "postgres_database": unquote(address.path.lstrip("/")),
            "postgres_port": str(address.port or 5432),
        }
    except ValueError:
        return  # Several hosts, or an error that the check of the bundle reports.
    for name, value in given.items():
        if value and server.text(name) and value != server.text(name):
            yield problem(
                "database-mismatch",
                host.name,
                f"DB_URI and {name} of {server.name} differ.",
                f"Use {name} in DB_URI.",
            )


def _redis(host: Host, bundle: dict[str, Any], server: Host) -> Iterator[Problem]:
    for key in ("BUILDLOGS_REDIS", "USER_EVENTS_REDIS"):
        settings = bundle.get(key)
        if not isinstance(settings, dict):
            continue
        for setting, name in (("password", "redis_password"), ("port", "redis_port")):
            value = settings.get(setting)
            if value and server.text(name) and str(value) != server.text(name):
                yield problem(
                    "redis-mismatch",
                    host.name,
                    f"{key}.{setting} and {name} of {server.name} differ.",
                    f"Use {name} in {key}.",
                )


def _proxies(host: Host, bundle: dict[str, Any], inventory: Inventory) -> Iterator[Problem]:
    trusted = bundle.get("TRUSTED_PROXIES")
    networks = []
    for entry in trusted if isinstance(trusted, list) else []:
        try:
            networks.append(ipaddress.ip_network(str(entry), strict=False))
        except ValueError:
            continue
    for balancer in inventory.running("load_balancer"):
        try:
            address = ipaddress.ip_address(balancer.text("ansible_host") or balancer.name)
        except ValueError:
            continue
        if not any(address in network for network in networks):
            yield problem(
                "trusted-proxies",
                host.name,
                f"TRUSTED_PROXIES does not contain the load balancer {balancer.name} ({address}),"
                " so all of its clients share one limit of failed logins.",
                f"Add {address} to TRUSTED_PROXIES.",
                "warning",
            )
