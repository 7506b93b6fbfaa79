"""Checks of registry_mirrors, the mirrors of the inventory."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.atoll.registry.plugins.modules.repository_mirror import ARGUMENTS
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import (
    Host,
    Inventory,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.problems import (
    Problem,
    problem,
)

_VARIABLE = "registry_mirrors"
_OPTIONS = ARGUMENTS
_SIMILARITY = 0.6
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*(?:/[a-z0-9][a-z0-9_.-]*)+")
_REFERENCE = re.compile(r"[^\s/?#\\%]+(?:/[^\s/?#\\%]+)+")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# A digest, or a tag in the last component; the colon of a port is in the first one.
_VERSION = re.compile(r"@|/[^/]*:[^/]*$")


def mirror_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield the mistakes of registry_mirrors, once for hosts with the same list."""
    seen = []
    for host in inventory.running("registry"):
        mirrors = host.get(_VARIABLE)
        if not mirrors or not isinstance(mirrors, list):
            continue  # The argument specification reports other types.
        text = json.dumps(mirrors, sort_keys=True, default=str)
        if text in seen:
            continue
        seen.append(text)
        yield from _missing_settings(host)
        for number, mirror in enumerate(mirrors):
            if isinstance(mirror, dict) and not host.failed(f"{_VARIABLE}.{number}"):
                yield from _mistakes(host, number, mirror)
        yield from _duplicates(host, mirrors)


def _missing_settings(host: Host) -> Iterator[Problem]:
    bundle = host.get("registry_config")
    if not isinstance(bundle, dict):
        return
    if not boolean(bundle.get("FEATURE_REPO_MIRROR", False), strict=False):
        yield problem(
            "mirrors-disabled",
            host.name,
            f"{_VARIABLE} is set, but registry_config does not enable mirrors.",
            "Set FEATURE_REPO_MIRROR to true in registry_config.",
        )
    token = host.text("registry_mirrors_token") or host.failed("registry_mirrors_token")
    keys = ("SUPER_USERS", "INITIAL_SUPERUSER_PASSWORD")
    if not token and not all(
        bundle.get(key) or key in host.failed_keys("registry_config") for key in keys
    ):
        yield problem(
            "mirrors-login-missing",
            host.name,
            f"There is no login with which {_VARIABLE} could be applied.",
            "Set registry_mirrors_token to an API token of a superuser.",
        )


def _mistakes(host: Host, number: int, mirror: dict[str, Any]) -> Iterator[Problem]:
    """Yield the mistakes of one mirror, without the values of its passwords."""
    name = mirror.get("name")
    title = f"{_VARIABLE}: {name}" if name else f"{_VARIABLE}: entry {number + 1}"

    def mistake(text: str, remedy: str) -> Problem:
        return problem("mirror-invalid", host.name, f"{title}: {text}.", remedy)

    for key in sorted(set(mirror) - set(_OPTIONS)):
        similar = difflib.get_close_matches(str(key), sorted(_OPTIONS), n=1, cutoff=_SIMILARITY)
        yield mistake(
            f"{key} is not an option of a mirror"
            + (f" (did you mean {similar[0]}?)" if similar else ""),
            f"Rename {key} to {similar[0]}." if similar else f"Remove {key}.",
        )
    known = {key: value for key, value in mirror.items() if key in _OPTIONS}
    present = mirror.get("state", "present") == "present"
    for key in ("name", *(("external_reference", "robot") if present else ())):
        if not mirror.get(key):
            yield mistake(f"{key} is missing", f"Set {key}.")
            known[key] = "set"
    for message in ArgumentSpecValidator(_OPTIONS).validate(known).error_messages:
        yield mistake(
            message.rstrip("."), "See `ansible-doc --type module atoll.registry.repository_mirror`."
        )
    yield from (mistake(*found) for found in _name_mistakes(mirror))
    if mirror.get("external_registry_password") and not mirror.get("external_registry_username"):
        yield mistake(
            "external_registry_password has no user", "Set external_registry_username, too."
        )


def _name_mistakes(mirror: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield mistakes of the names of a mirror with their remedies."""
    name, reference, robot = (
        str(mirror.get(key) or "") for key in ("name", "external_reference", "robot")
    )
    if name and not _NAME.fullmatch(name):
        yield f"{name!r} is not a repository", "Write the name as NAMESPACE/REPOSITORY."
    if _SCHEME.match(reference):
        yield "external_reference is a URL", "Remove the scheme from external_reference."
    elif _VERSION.search(reference):
        yield (
            "external_reference has a tag or a digest",
            "Remove it from external_reference, and select tags with the option tags.",
        )
    elif reference and not _REFERENCE.fullmatch(reference):
        yield (
            "external_reference is not a repository",
            "Write external_reference as HOST/REPOSITORY or HOST:PORT/REPOSITORY.",
        )
    owner, plus, _robot = robot.partition("+")
    if plus and owner != name.partition("/")[0]:
        yield (
            f"the robot belongs to {owner}",
            "Use a robot of the namespace of the repository.",
        )


def _duplicates(host: Host, mirrors: list[Any]) -> Iterator[Problem]:
    names = [str(one.get("name")) for one in mirrors if isinstance(one, dict) and one.get("name")]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield problem(
                "mirror-invalid",
                host.name,
                f"{_VARIABLE} contains {name} {names.count(name)} times.",
                "A repository has one mirror; keep one of the entries.",
            )
