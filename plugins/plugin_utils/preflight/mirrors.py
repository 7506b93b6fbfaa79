"""Checks of the mirrors of the inventory: those of repositories, and those of organizations."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.atoll.registry.plugins.modules import (
    organization_mirror,
    repository_mirror,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import (
    Host,
    Inventory,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.problems import (
    Problem,
    problem,
)

_SIMILARITY = 0.6
_COMPONENT = r"[a-z0-9][a-z0-9_.-]*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})+")
_NAMESPACE = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_ORGANIZATION = re.compile(_COMPONENT)
_REFERENCE = re.compile(r"[^\s/?#\\%]+(?:/[^\s/?#\\%]+)+")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# A digest, or a tag in the last component; the colon of a port is in the first one.
_VERSION = re.compile(r"@|/[^/]*:[^/]*$")

# Texts of a mistake and its remedy.
_Mistakes = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class _Kind:
    """A list of mirrors in the inventory.

    Attributes:
        variable: The variable.
        module: The module that applies it.
        options: The options of the module.
        feature: The key of the bundle that the mirrors need.
        required: The options that a mirror needs, besides its name.
        names: Yields mistakes of the names in an entry.
    """

    variable: str
    module: str
    options: Mapping[str, dict[str, Any]]
    feature: str
    required: tuple[str, ...]
    names: Callable[[dict[str, Any]], _Mistakes]


def mirror_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield the mistakes in lists of mirrors, once for hosts with the same list."""
    for kind in _KINDS:
        seen = []
        for host in inventory.running("registry"):
            mirrors = host.get(kind.variable)
            if not mirrors or not isinstance(mirrors, list):
                continue  # The argument specification reports other types.
            text = json.dumps(mirrors, sort_keys=True, default=str)
            if text in seen:
                continue
            seen.append(text)
            yield from _missing_settings(host, kind)
            for number, mirror in enumerate(mirrors):
                if isinstance(mirror, dict) and not host.failed(f"{kind.variable}.{number}"):
                    yield from _mistakes(host, kind, number, mirror)
            yield from _duplicates(host, kind, mirrors)


def _missing_settings(host: Host, kind: _Kind) -> Iterator[Problem]:
    bundle = host.get("registry_config")
    if not isinstance(bundle, dict):
        return
    if not boolean(bundle.get(kind.feature, False), strict=False):
        yield problem(
            "mirrors-disabled",
            host.name,
            f"{kind.variable} is set, but registry_config does not enable such mirrors.",
            f"Set {kind.feature} to true in registry_config.",
        )
    token = host.text("registry_mirrors_token") or host.failed("registry_mirrors_token")
    keys = ("SUPER_USERS", "INITIAL_SUPERUSER_PASSWORD")
    if not token and not all(
        bundle.get(key) or key in host.failed_keys("registry_config") for key in keys
    ):
        yield problem(
            "mirrors-login-missing",
            host.name,
            f"There is no login with which {kind.variable} could be applied.",
            "Set registry_mirrors_token to an API token of a superuser.",
        )


def _mistakes(host: Host, kind: _Kind, number: int, mirror: dict[str, Any]) -> Iterator[Problem]:
    """Yield the mistakes of one mirror, without the values of its passwords."""
    name = mirror.get("name")
    title = f"{kind.variable}: {name}" if name else f"{kind.variable}: entry {number + 1}"
    options = kind.options

    def mistake(text: str, remedy: str) -> Problem:
        return problem("mirror-invalid", host.name, f"{title}: {text}.", remedy)

    for key in sorted(set(mirror) - set(options)):
        similar = difflib.get_close_matches(str(key), sorted(options), n=1, cutoff=_SIMILARITY)
        yield mistake(
            f"{key} is not an option of a mirror"
            + (f" (did you mean {similar[0]}?)" if similar else ""),
            f"Rename {key} to {similar[0]}." if similar else f"Remove {key}.",
        )
    known = {key: value for key, value in mirror.items() if key in options}
    present = mirror.get("state", "present") == "present"
    for key in ("name", *(kind.required if present else ())):
        if not mirror.get(key):
            yield mistake(f"{key} is missing", f"Set {key}.")
            known[key] = (options[key].get("choices") or ["set"])[0]
    for message in ArgumentSpecValidator(options).validate(known).error_messages:
        remedy = f"See `ansible-doc --type module atoll.registry.{kind.module}`."
        yield mistake(message.rstrip("."), remedy)
    yield from (mistake(*found) for found in (*kind.names(mirror), *_owner_mistakes(mirror)))
    if mirror.get("external_registry_password") and not mirror.get("external_registry_username"):
        yield mistake(
            "external_registry_password has no user", "Set external_registry_username, too."
        )


def _text(mirror: dict[str, Any], key: str) -> str:
    return str(mirror.get(key) or "")


def _repository_names(mirror: dict[str, Any]) -> _Mistakes:
    """Yield mistakes of the names of the mirror of a repository."""
    name, reference = _text(mirror, "name"), _text(mirror, "external_reference")
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


def _organization_names(mirror: dict[str, Any]) -> _Mistakes:
    """Yield mistakes of the names of the mirror of an organization."""
    name, namespace = _text(mirror, "name"), _text(mirror, "external_namespace")
    if name and not _ORGANIZATION.fullmatch(name):
        yield f"{name!r} is not an organization", "Write the name without a repository."
    url = _text(mirror, "external_registry_url")
    if url and not _is_registry_url(url):
        yield (
            "external_registry_url is not the URL of a registry",
            "Write external_registry_url as https://HOST, without a path or a login.",
        )
    if namespace and not _NAMESPACE.fullmatch(namespace):
        yield (
            f"external_namespace {namespace!r} is not a namespace",
            "Use the organization or project alone, in lower-case letters.",
        )
    elif "/" in namespace and mirror.get("external_registry_type") in {"quay", "harbor"}:
        yield (
            "external_namespace has several components",
            "Use the organization or project alone, or external_registry_type oci.",
        )


def _is_registry_url(url: str) -> bool:
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
    except ValueError:
        return False
    is_host = bool(parts.netloc) and "@" not in parts.netloc
    extra = parts.path not in {"", "/"} or parts.query or parts.fragment
    return is_host and not extra and parts.scheme in {"https", "http"}


def _owner_mistakes(mirror: dict[str, Any]) -> _Mistakes:
    owner, plus, _robot = _text(mirror, "robot").partition("+")
    if plus and owner != _text(mirror, "name").partition("/")[0]:
        yield f"the robot belongs to {owner}", "Use a robot of the namespace of the mirror."


def _duplicates(host: Host, kind: _Kind, mirrors: list[Any]) -> Iterator[Problem]:
    names = [str(one.get("name")) for one in mirrors if isinstance(one, dict) and one.get("name")]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield problem(
                "mirror-invalid",
                host.name,
                f"{kind.variable} contains {name} {names.count(name)} times.",
                "There is one mirror for each name; keep one of the entries.",
            )


_KINDS = (
    _Kind(
        "registry_mirrors",
        "repository_mirror",
        repository_mirror.ARGUMENTS,
        "FEATURE_REPO_MIRROR",
        repository_mirror.Mirror.required,
        _repository_names,
    ),
    _Kind(
        "registry_organization_mirrors",
        "organization_mirror",
        organization_mirror.ARGUMENTS,
        "FEATURE_ORG_MIRROR",
        organization_mirror.OrganizationMirror.required,
        _organization_names,
    ),
)
