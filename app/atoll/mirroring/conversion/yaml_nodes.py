"""Nodes of a YAML file, with their lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from atoll.errors import UserError

_SIZE_MAXIMUM = 1024 * 1024


def compose(text: str) -> yaml.MappingNode:
    """Return the root of a file. Raises UserError."""
    if len(text) > _SIZE_MAXIMUM:
        raise UserError("the file is larger than 1 MiB")
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"the file is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(root, yaml.MappingNode):
        raise UserError(
            "the file is no configuration of skopeo sync or regsync: it must be a map of"
            " registries, or have the key sync"
        )
    return root


def items(node: yaml.Node, name: str) -> Iterator[tuple[str, yaml.Node, int]]:
    """Yield the keys, values and lines of a map. Raises UserError."""
    if isinstance(node, yaml.ScalarNode) and node.value in ("", "null", "~"):
        return
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"line {line_of(node)}: {name} must be a map")
    for key, value in node.value:
        yield str(key.value), value, line_of(key)


def line_of(node: yaml.Node) -> int:
    """Return the line of a node, from 1."""
    line: int = node.start_mark.line
    return line + 1


def value_of(node: yaml.Node) -> Any:
    """Return the value of a node without nested maps of its own tags. Raises UserError."""
    try:
        return yaml.safe_load(yaml.serialize(node, Dumper=yaml.SafeDumper))
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"line {line_of(node)}: the value is malformed") from error
