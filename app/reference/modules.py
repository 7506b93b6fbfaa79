"""The page of the collection's modules and filters, from their documentation blocks."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from reference.ansible_markup import plain
from reference.markdown import block, code, item, page, paragraph, sentence, table

_COLLECTION = "atoll.registry"


def modules_page(plugins: Path) -> str:
    """Return the page of all modules and filters in the directory PLUGINS."""
    return page("Modules and plugins", "plugins", _parts(plugins))


def _parts(plugins: Path) -> Iterator[str]:
    fragments = {
        f"{_COLLECTION}.{file.stem}": _load(_constants(file)["DOCUMENTATION"])
        for file in _sources(plugins / "doc_fragments")
    }
    documented = [(file, _constants(file)) for file in _sources(plugins / "modules")]
    yield paragraph(
        f"The modules of the collection `{_COLLECTION}`; `ansible-doc {_COLLECTION}.NAME` prints"
        " the same. Modules of a site's host need root there; modules of the API run anywhere."
    )
    yield "## Modules"
    yield table(
        ("module", "purpose"),
        [
            (
                f"[{code(file.stem)}](#{file.stem})",
                sentence(plain(_load(constants["DOCUMENTATION"])["short_description"])),
            )
            for file, constants in documented
        ],
    )
    for file, constants in documented:
        yield from _module(file.stem, constants, fragments)
    yield "## Filters"
    yield paragraph("The playbooks use these filters; they are not meant for other playbooks.")
    yield table(("filter", "purpose"), list(_filters(plugins / "filter")))


def _module(
    name: str, constants: Mapping[str, str], fragments: Mapping[str, dict[str, Any]]
) -> Iterator[str]:
    documentation = _load(constants["DOCUMENTATION"])
    yield f"### {name}"
    yield paragraph(sentence(plain(documentation["short_description"])))
    yield "\n".join(item(sentence(plain(text))) for text in _list(documentation["description"]))
    options = dict(documentation.get("options") or {})
    for fragment in _list(documentation.get("extends_documentation_fragment")):
        options |= fragments.get(fragment, {}).get("options") or {}
    if options:
        yield table(("option", "type", "default", "meaning"), list(_options(options)))
    if constants.get("EXAMPLES", "").strip():
        yield block("yaml", constants["EXAMPLES"])
    returned = _load(constants.get("RETURN", "")) or {}
    if returned:
        yield table(("return value", "type", "meaning"), list(_returned(returned)))


def _options(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    for name, option in options.items():
        kind = str(option.get("type", "str"))
        if "elements" in option:
            kind = f"{kind} of {option['elements']}"
        if "choices" in option:
            kind += ": " + ", ".join(code(choice) for choice in option["choices"])
        value = "**required**" if option.get("required") else ""
        if "default" in option:
            value = code(option["default"])
        yield code(prefix + name), kind, value, _text(option["description"])
        yield from _options(option.get("suboptions") or {}, f"{prefix}{name}.")


def _returned(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, value in values.items():
        yield code(prefix + name), str(value.get("type", "")), _text(value["description"])
        yield from _returned(value.get("contains") or {}, f"{prefix}{name}.")


def _filters(directory: Path) -> Iterator[tuple[str, str]]:
    """Return each function that a FilterModule offers, with its summary."""
    for file in _sources(directory):
        tree = ast.parse(file.read_text())
        summaries = {
            node.name: (ast.get_docstring(node) or "").partition("\n")[0]
            for node in tree.body
            if isinstance(node, ast.FunctionDef)
        }
        for name, function in _offered(tree):
            yield code(name), summaries.get(function, "")


def _offered(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Return the filters, with their functions' names, that `FilterModule.filters` returns."""
    methods = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    for method in methods:
        if method.name != "filters":
            continue
        for node in ast.walk(method):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(value, ast.Name):
                        yield str(key.value), value.id


def _constants(file: Path) -> dict[str, str]:
    """Return the text constants of a module, also those of its class, without importing it."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name) and isinstance(node.value.value, str):
                    found[target.id] = node.value.value
    return found


def _sources(directory: Path) -> list[Path]:
    return sorted(file for file in directory.glob("*.py") if file.name != "__init__.py")


def _load(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text) or {})


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _text(description: Any) -> str:
    return " ".join(sentence(plain(text)) for text in _list(description))
