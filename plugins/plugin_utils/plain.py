"""Conversion of Ansible's tagged values."""

from __future__ import annotations

from typing import Any


def plain(value: Any) -> Any:
    """Convert Ansible's tagged values to the plain types that PyYAML returns."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
