"""YAML documents with the line of each value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from atoll.errors import UserError
from atoll.kubernetes.findings import Place

# The keys and positions that lead to a value.
Path: TypeAlias = tuple[str | int, ...]

_SIZE_MAXIMUM = 1024 * 1024
_NODES_MAXIMUM = 100_000


class _Loader(yaml.SafeLoader):
    """A loader for which a date is a text, as for Kubernetes."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as in its base class
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass
class Document:
    """One document of a file.

    Attributes:
        file: the path of the file.
        value: the content.
    """

    file: str
    value: Any
    _lines: dict[Path, int] = field(default_factory=dict)

    def place(self, *path: str | int) -> Place:
        """Return the place of a value, or of the closest one that contains it."""
        while path and path not in self._lines:
            path = path[:-1]
        return Place(self.file, self._lines.get(path))


def read_documents(text: str, file: str) -> list[Document]:
    """Return the documents of a file, without empty ones.

    Args:
        text: the content of the file.
        file: its path, for messages.

    Raises:
        UserError: it is no YAML, or has duplicate keys.
    """
    if len(text) > _SIZE_MAXIMUM:
        raise UserError(f"{file}: is larger than 1 MiB; a QuayRegistry is much smaller")
    try:
        nodes = list(yaml.compose_all(text, _Loader))
        return [_document(node, file) for node in nodes if not _is_empty(node)]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Place(file, None if mark is None else mark.line + 1)
        problem = getattr(error, "problem", None) or "unreadable characters"
        raise UserError(f"{place}: is no YAML: {problem}") from error


def _is_empty(node: yaml.Node | None) -> bool:
    return node is None or (isinstance(node, yaml.ScalarNode) and not node.value)


def _document(node: yaml.Node, file: str) -> Document:
    lines: dict[Path, int] = {}
    for path, line in _walk(node, (), node.start_mark.line + 1, (), file):
        lines[path] = line
        if len(lines) > _NODES_MAXIMUM:
            raise UserError(f"{file}: has more than {_NODES_MAXIMUM} values")
    return Document(file, _Loader("").construct_document(node), lines)


def _walk(
    node: yaml.Node, path: Path, line: int, above: tuple[int, ...], file: str
) -> Iterator[tuple[Path, int]]:
    """Yield each path with its line, for a value of a map that of its key."""
    # An alias is a reference to the same node, which may contain itself.
    if id(node) in above:
        raise UserError(f"{Place(file, line)}: the value contains itself")
    yield path, line
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            at = item.start_mark.line + 1
            yield from _walk(item, (*path, index), at, (*above, id(node)), file)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name, at = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise UserError(f"{Place(file, at)}: '{name}' is a duplicate key")
            seen.add(name)
            yield from _walk(value, (*path, name), at, (*above, id(node)), file)
