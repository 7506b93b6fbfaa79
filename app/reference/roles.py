"""The pages of role variables, and each role's README, from argument_specs.yml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from reference.ansible_markup import plain
from reference.markdown import block, code, page, paragraph, sentence, table

_SPECIFICATION = "meta/argument_specs.yml"
_INTRODUCTION = """
Variables of the collection's roles, as `playbooks/validate.yml` checks them before any host is
touched. Set them in the inventory; `inventories/example` shows all that a registry needs.
"""
# Examples of required variables, by the ending of their name; others are secrets.
_SAMPLES: dict[str, Any] = {
    "_certificate_file": "{{ inventory_dir }}/group_vars/atoll/tls/registry.crt",
    "_key_file": "{{ inventory_dir }}/group_vars/atoll/tls/registry.key",
    "_hostname": "registry.example.org",
    "_image": "registry.example.org/atoll/registry@sha256:DIGEST",
    "_site": "us",
    "_storage_preference": ["usstorage", "eustorage"],
    "_config": "{{ registry_bundle }}",
    "_networks": ["192.0.2.0/24"],
    "_backends": [],
}


def role_variables_page(roles: Path) -> str:
    """Return the page of the variables of all roles in the directory ROLES."""
    parts = [paragraph(_INTRODUCTION)]
    for role in role_names(roles):
        parts += [f"## {role}", *_entry_points(_specification(roles, role), "###")]
    return page("Role variables", f"roles/*/{_SPECIFICATION}", parts)


def readme(roles: Path, role: str) -> str:
    """Return the README of ROLE."""
    specification = _specification(roles, role)
    parts = [*_entry_points(specification, "##"), "## Example", _example(role, specification)]
    return page(f"atoll.registry.{role}", _SPECIFICATION, parts)


def role_names(roles: Path) -> list[str]:
    """Return the names of all roles."""
    return sorted(file.parent.parent.name for file in roles.glob(f"*/{_SPECIFICATION}"))


def _specification(roles: Path, role: str) -> dict[str, Any]:
    loaded = yaml.safe_load((roles / role / _SPECIFICATION).read_text())
    return dict(loaded["argument_specs"])


def _entry_points(specification: dict[str, Any], heading: str) -> Iterator[str]:
    """Describe each entry point; options that equal those of `main` are not repeated."""
    main = specification["main"].get("options")
    for name, entry in specification.items():
        if name != "main":
            yield f"{heading} Entry point {code(name)}"
        yield paragraph(sentence(entry["short_description"]))
        for text in _texts(entry.get("description")):
            yield paragraph(text)
        options = entry.get("options") or {}
        if name == "main" and options:
            yield f"{heading} Variables"
        if name != "main" and options == main:
            yield "It has the same variables."
        elif options:
            yield _options(options)


def _options(options: dict[str, Any]) -> str:
    return table(
        ("variable", "type", "default", "meaning"),
        [
            (code(name), _type(option), _default(option), " ".join(_texts(option["description"])))
            for name, option in options.items()
        ],
    )


def _type(option: dict[str, Any]) -> str:
    kind = str(option.get("type", "str"))
    if "elements" in option:
        kind = f"{kind} of {option['elements']}"
    if "choices" in option:
        kind += ": " + ", ".join(code(choice) for choice in option["choices"])
    return kind


def _default(option: dict[str, Any]) -> str:
    if option.get("required"):
        return "**required**"
    return code(option["default"]) if "default" in option else ""


def _texts(description: Any) -> list[str]:
    texts = description if isinstance(description, list) else [description]
    return [sentence(plain(text)) for text in texts if text]


def _example(role: str, specification: dict[str, Any]) -> str:
    options = specification["main"].get("options") or {}
    task: dict[str, Any] = {
        "name": f"Run the role {role}",
        "ansible.builtin.import_role": {"name": f"atoll.registry.{role}"},
    }
    required = {name: option for name, option in options.items() if option.get("required")}
    if required:
        task["vars"] = {name: _sample(name, option) for name, option in required.items()}
    play = [{"name": f"Set up {role}", "hosts": "all", "become": True, "tasks": [task]}]
    dumped = yaml.dump(play, Dumper=_Indented, sort_keys=False, width=90, default_style=None)
    return block("yaml", dumped.replace("'", '"'))


class _Indented(yaml.SafeDumper):
    """Indents lists below their key, as ansible-lint requires."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent every block."""
        del indentless
        super().increase_indent(flow, False)


def _sample(name: str, option: dict[str, Any]) -> Any:
    """Return an example of a required option."""
    for ending, sample in _SAMPLES.items():
        if name.endswith(ending):
            return sample
    if "choices" in option:
        return option["choices"][0]
    return f"{{{{ vault_{name} }}}}"
