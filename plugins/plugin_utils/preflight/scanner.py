"""Checks of Clair, the security scanner, and of the settings that it shares with the registry."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.atoll.registry.plugins.filter.scanner import clair_database_problems
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import (
    Host,
    Inventory,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.problems import (
    Problem,
    problem,
)

# The registry refuses shorter keys.
_MINIMUM_KEY_BYTES = 32
# The variables of Clair and the keys of the bundle that hold the same secret.
_SHARED_KEYS = (
    ("clair_psk", "SECURITY_SCANNER_V4_PSK"),
    ("clair_previous_psk", "SCANNER_PREVIOUS_PSK"),
)


def scanner_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield the problems of the hosts that run Clair."""
    clairs = inventory.running("clair")
    sites = inventory.sites()
    for host in clairs:
        yield from _database(host, sites)
        yield from _keys(host, sites)
        yield from _files(host)
    yield from _sites(clairs, sites)


def _database(host: Host, sites: list[Host]) -> Iterator[Problem]:
    if host.failed("clair_database_uri") or "clair_database_uri" not in host.raw:
        return  # The argument specification reports it.
    bundles = [site.get("registry_config") for site in sites] or [None]
    messages = {
        message: None
        for bundle in bundles
        for message in clair_database_problems(host.text("clair_database_uri"), bundle)
    }
    for message in messages:
        text, _colon, remedy = message.rstrip(".").partition(": ")
        yield problem(
            "scanner-database", host.name, f"{text}.", f"{remedy[:1].upper()}{remedy[1:]}."
        )


def _keys(host: Host, sites: list[Host]) -> Iterator[Problem]:
    for variable, key in _SHARED_KEYS:
        value = host.text(variable)
        if value and not _is_key(value):
            yield problem(
                "value-invalid",
                host.name,
                f"{variable} is not a key of at least {_MINIMUM_KEY_BYTES} bytes in Base64.",
                "Generate one, for example with `openssl rand -hex 32`.",
            )
        for site in sites:
            bundle = site.get("registry_config")
            if not isinstance(bundle, dict) or not _scans(bundle):
                continue
            if host.failed(variable) or key in site.failed_keys("registry_config"):
                continue
            if value != str(bundle.get(key) or ""):
                yield problem(
                    "scanner-key-mismatch",
                    host.name,
                    f"{variable} and {key} of {site.name} differ.",
                    f"Use {variable} in {key}.",
                )
                break


def _files(host: Host) -> Iterator[Problem]:
    if host.text("clair_tls_certificate_file") and not host.text("clair_tls_key_file"):
        yield problem(
            "value-invalid",
            host.name,
            "clair_tls_certificate_file is set, but clair_tls_key_file is not.",
            "Set both, or none.",
        )
    paths = host.get("clair_extra_ca_files")
    names = [PurePosixPath(str(path)).name for path in (paths if isinstance(paths, list) else [])]
    if len(set(names)) < len(names) or not all(name.endswith(".crt") for name in names):
        yield problem(
            "value-invalid",
            host.name,
            "clair_extra_ca_files contains files with the same name, or names that do not end in"
            " .crt.",
            "Rename the files.",
        )


def _sites(clairs: list[Host], sites: list[Host]) -> Iterator[Problem]:
    locations = {site.text("registry_site"): _location(site) for site in reversed(sites)}
    first: dict[str, str] = {}
    for host in clairs:
        name = host.text("clair_site")
        if not name:
            continue  # The argument specification reports it.
        if name not in locations:
            yield problem(
                "site-unknown",
                host.name,
                f"clair_site is {name}, which is not a site.",
                f"Set it to one of {', '.join(sorted(locations))}. If its site was removed with"
                f" remove_site.yml, remove {host.name} from the inventory.",
            )
            continue
        other = first.setdefault(name, host.name)
        if other != host.name:
            yield problem(
                "scanner-duplicate",
                host.name,
                f"{other} runs the Clair of site {name}, too. The registry uses only that one.",
                "Leave one host for each site in atoll_clair.",
                "warning",
            )
        yield from _endpoint(host, locations[name], sites)


def _endpoint(host: Host, location: str, sites: list[Host]) -> Iterator[Problem]:
    for site in sites:
        bundle = site.get("registry_config")
        if not isinstance(bundle, dict) or "SCANNER_ENDPOINTS" in site.failed_keys(
            "registry_config"
        ):
            continue
        endpoints = bundle.get("SCANNER_ENDPOINTS")
        known = location in endpoints if isinstance(endpoints, dict) else False
        if _scans(bundle) and not known:
            yield problem(
                "scanner-endpoint-missing",
                host.name,
                f"SCANNER_ENDPOINTS of {site.name} does not contain this Clair ({location}), so the"
                " registry does not use it.",
                'Set SCANNER_ENDPOINTS to "{{ groups | atoll.registry.scanner_endpoints(hostvars)'
                ' }}".',
                "warning",
            )
            return


def _location(site: Host) -> str:
    preference = site.get("registry_storage_preference")
    return str(preference[0]) if isinstance(preference, list) and preference else ""


def _scans(bundle: dict[str, Any]) -> bool:
    return str(bundle.get("FEATURE_SECURITY_SCANNER")).lower() in ("true", "yes", "on", "1")


def _is_key(value: str) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) >= _MINIMUM_KEY_BYTES
    except (binascii.Error, ValueError):
        return False
