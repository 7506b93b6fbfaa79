"""Checks of role variables: undefined, invalid and unknown ones."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.atoll.registry.plugins.plugin_utils.plain import plain
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import (
    COMPONENTS,
    Host,
    Inventory,
    Roles,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.problems import (
    Problem,
    problem,
)

_SIMILARITY = 0.8


def variable_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield the problems of role variables."""
    known = inventory.roles.variables()
    for host in inventory.all():
        yield from _arguments(host, inventory.roles)
        yield from _unknown(host, known, inventory.roles)


def undefined_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield the errors in templates that the other checks came across."""
    places: dict[str, dict[str, None]] = {}
    for host in inventory.all():
        for name, users in host.undefined.items():
            places.setdefault(name, {}).update(dict.fromkeys(users))
    for host in inventory.all():
        for name in host.undefined:
            yield problem(
                "variable-undefined",
                host.name,
                f"{name} is undefined. It is used by {', '.join(places[name])}.",
                _remedy(name),
            )
        for place, message in host.invalid.items():
            yield problem(
                "value-invalid",
                host.name,
                f"{place} cannot be evaluated: {message}",
                f"Correct the template of {place}.",
            )


def _remedy(name: str) -> str:
    if name.startswith("vault_"):
        return f"Set {name} in group_vars/all/vault.yml, which is a copy of vault.yml.example."
    return f"Set {name}, or correct the name."


def _arguments(host: Host, roles: Roles) -> Iterator[Problem]:
    for role in host.roles:
        options = roles.options(role)
        failed = {name for name in options if host.failed(name)}
        values = {name: item for name, item in host.options(role).items() if name not in failed}
        specification = {name: item for name, item in options.items() if name not in failed}
        validator = ArgumentSpecValidator(specification)
        result = validator.validate(values, validate_role_argument_spec=True)
        for message in result.error_messages:
            yield problem(
                "value-invalid",
                host.name,
                f"Variables of the role {role}: {message.rstrip('.')}.",
                f"See `ansible-doc --type role atoll.registry.{role}`.",
            )


def _unknown(host: Host, known: set[str], roles: Roles) -> Iterator[Problem]:
    """Yield variables that look like a role's, but that no role and no other variable refers to."""
    prefix = re.compile(rf"(?:{'|'.join(sorted({*roles.names, *COMPONENTS}))})_")
    names = [str(name) for name in host.raw if prefix.match(str(name)) and name not in known]
    if not names:
        return
    used = set(re.findall(r"\w+", _templates(host)))
    for name in names:
        if name in used:
            continue
        similar = difflib.get_close_matches(name, sorted(known), n=1, cutoff=_SIMILARITY)
        yield problem(
            "variable-unknown",
            host.name,
            f"{name} is not a variable of any role, and has no effect"
            + (f" (did you mean {similar[0]}?)." if similar else "."),
            f"Rename it to {similar[0]}." if similar else "Correct the name, or remove it.",
            "error" if similar else "warning",
        )


def _templates(host: Host) -> str:
    """Return the text of all variables that may refer to others."""
    text = json.dumps(
        plain({name: item for name, item in host.raw.items() if name != "groups"}), default=str
    )
    return " ".join(re.findall(r"\{[{%].*?[%}]\}", text))
