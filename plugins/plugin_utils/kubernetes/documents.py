"""Files of a site, and how objects are written as YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

Object = dict[str, Any]

_HEADER = "# Rendered from the inventory by playbooks/kubernetes.yml; changes here are lost.\n"
# Other texts are quoted: parsers of Kubernetes read `y` as a Boolean, and `12e4` as a number.
_PLAIN = re.compile(r"[A-Za-z/](?:[-A-Za-z0-9_./@+]| (?=[A-Za-z0-9/]))*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_NEVER_FOLDED = 1_000_000


@dataclass(frozen=True)
class Document:
    """A file of a site.

    Attributes:
        path: The path below the directory of the site.
        text: The content.
        is_secret: Whether the content must not be shown.
    """

    path: str
    text: str
    is_secret: bool = False


def manifest(path: str, *objects: Mapping[str, Any]) -> Document:
    """Return a file with objects. It is secret if one of the objects is a Secret."""
    is_secret = any(one["kind"] == "Secret" for one in objects)
    return Document(path, _HEADER + "".join(map(_dump, objects)), is_secret)


def commented(path: str, lines: Sequence[str]) -> Document:
    """Return a file in a format with comments that begin with `#`."""
    return Document(path, _HEADER + "\n".join(lines) + "\n")


def is_rendered(text: str) -> bool:
    """Return whether a file was rendered, so that it may be replaced."""
    return text.startswith(_HEADER)


def _dump(value: Mapping[str, Any]) -> str:
    return yaml.dump(
        dict(value),
        Dumper=_Dumper,
        allow_unicode=True,
        default_flow_style=False,
        explicit_start=True,
        sort_keys=False,
        width=_NEVER_FOLDED,
    )


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, repeats equal values, and quotes ambiguous texts."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent every block."""
        del indentless
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        """Write no anchors."""
        del data
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, None if plain else '"')


_Dumper.add_representer(str, _text)
