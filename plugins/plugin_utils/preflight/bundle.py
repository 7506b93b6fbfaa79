"""Checks of the configuration bundle, with the registry's own model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from ansible_collections.atoll.registry.plugins.filter.bundle import (
    bundle_problems,
    bundle_warnings,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import (
    Host,
    Inventory,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.problems import (
    Problem,
    problem,
)


def configuration_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield the problems of registry_config at each host of a site, and for each cluster."""
    fingerprints: dict[str, str] = {}
    checked: dict[str, tuple[list[str], list[str]]] = {}
    for host in inventory.sites():
        bundle = host.get("registry_config")
        if not isinstance(bundle, dict):
            continue  # The argument specification reports it.
        preference = host.get("registry_storage_preference")
        key = _fingerprint([bundle, preference])
        if key not in checked:
            checked[key] = (
                bundle_problems(bundle, preference),
                bundle_warnings(bundle, preference),
            )
        yield from _problems(host, *checked[key])
        fingerprints[host.name] = _fingerprint(bundle)
    yield from _differences(fingerprints)


def _problems(host: Host, errors: list[str], warnings: list[str]) -> Iterator[Problem]:
    # The values of these keys are reported as undefined.
    failed = host.failed_keys("registry_config")
    for message in errors:
        if message.split(":")[0].split(".")[0] not in failed:
            yield problem(
                "bundle-invalid",
                host.name,
                f"registry_config: {message}.",
                "Correct registry_config.",
            )
    for message in warnings:
        key, _colon, text = message.partition(":")
        if key.split(".")[0] in failed:
            continue
        similar = text.partition("(did you mean ")[2].partition("?")[0]
        if similar:
            yield problem(
                "configuration-key-unknown",
                host.name,
                f"registry_config: {message}.",
                f"Rename {key} to {similar}.",
            )
        else:
            yield problem(
                "bundle-warning",
                host.name,
                f"registry_config: {message}.",
                f"Correct or remove {key} in registry_config.",
                "warning",
            )


def _differences(fingerprints: dict[str, str]) -> Iterator[Problem]:
    first = next(iter(fingerprints), "")
    different = [name for name, value in fingerprints.items() if value != fingerprints[first]]
    for name in different:
        yield problem(
            "bundle-differs",
            name,
            f"registry_config differs from that of {first}. All sites must use the same bundle.",
            "Set registry_config once in group_vars/all; sites differ only in"
            " registry_storage_preference.",
        )


def _fingerprint(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
