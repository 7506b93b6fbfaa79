"""Filter that decides whether a host runs the mirror process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.text.converters import to_native
from ansible.module_utils.parsing.convert_bool import boolean

_FEATURES = ("FEATURE_REPO_MIRROR", "FEATURE_ORG_MIRROR")


def runs_mirror(bundle: Any, setting: Any = "auto") -> bool:
    """Return whether a host runs the mirror process.

    Args:
        bundle: The configuration bundle.
        setting: The value of registry_mirror: auto, or a Boolean.

    Raises:
        AnsibleFilterError: The setting is neither.
    """
    if setting != "auto":
        try:
            return bool(boolean(setting))
        except TypeError as error:
            raise AnsibleFilterError(
                f"registry_mirror is {to_native(setting)!r}; set it to auto, true or false"
            ) from error
    if not isinstance(bundle, dict):
        return False
    return any(bool(boolean(bundle.get(key, False), strict=False)) for key in _FEATURES)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"runs_mirror": runs_mirror}
