"""The text of an inventory in Ansible's YAML format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

# Jinja would evaluate texts with these.
_DELIMITERS = ("{{", "{%", "{#")


class _Literal(str):
    """A text that Ansible must not evaluate."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Write equal values twice: an alias would be harder to edit."""
        del data
        return True


_Dumper.add_representer(
    _Literal, lambda dumper, value: dumper.represent_scalar("!unsafe", str(value), style='"')
)


def inventory_text(
    group: str,
    variables: Mapping[str, Any],
    hosts: Mapping[str, Any],
    comments: Iterable[str],
) -> str:
    """Return an inventory with one group.

    Args:
        group: the name of the group.
        variables: those of the group, with expressions.
        hosts: the variables of each host; Ansible does not evaluate their texts.
        comments: lines above the group.
    """
    lines = [f"# {' '.join(comment.split())}" for comment in comments]
    document = {group: {"vars": dict(variables), "hosts": _literal(dict(hosts))}}
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
    return "\n".join(["---", *lines, text.rstrip()])


def _literal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _literal(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_literal(one) for one in value]
    if isinstance(value, str) and any(mark in value for mark in _DELIMITERS):
        return _Literal(value)
    return value
