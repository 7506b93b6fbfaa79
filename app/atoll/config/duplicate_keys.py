"""Detection of duplicate keys in YAML maps, of which parsers silently use the last."""

from __future__ import annotations

import yaml


def duplicate_keys(text: str) -> list[str]:
    """Return a message for each duplicate key in a YAML document.

    Raises:
        yaml.YAMLError: The text is not YAML.
    """
    found: list[str] = []
    root = yaml.compose(text, yaml.SafeLoader)
    if root is not None:
        _search(root, (), set(), found)
    return found


def _search(node: yaml.Node, path: tuple[str, ...], seen: set[int], found: list[str]) -> None:
    # An alias is a reference to the same node, which may contain itself.
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _search(item, (*path, str(number)), seen, found)
    if isinstance(node, yaml.MappingNode):
        _search_map(node, path, seen, found)


def _search_map(
    node: yaml.MappingNode, path: tuple[str, ...], seen: set[int], found: list[str]
) -> None:
    lines: dict[str, int] = {}
    for key, value in node.value:
        name = str(key.value)
        line = key.start_mark.line + 1
        if name in lines:
            found.append(
                f"{'.'.join([*path, name])}: is a duplicate key, in lines {lines[name]} and {line}"
            )
        lines.setdefault(name, line)
        _search(value, (*path, name), seen, found)
