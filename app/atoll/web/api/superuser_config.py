"""`superuser/config`: the configuration of the serving process, without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import TypedDict

from atoll.config import Bundle
from atoll.config.dump import dump
from atoll.web.api.operation import Call, operation


class ConfigSchema(TypedDict):
    """The configuration of a process.

    `bundle_keys` are those of `config` that the bundle has; the others have their defaults. Keys in
    `warning` have no effect.
    """

    config: dict[str, Any]
    bundle_keys: list[str]
    warning: dict[str, str]
    env: dict[str, str]
    schema: dict[str, Any]


class SuperuserConfig:
    """`superuser/config`, with FEATURE_SUPERUSER_CONFIGDUMP."""

    def __init__(self, bundle: Bundle, environment: Mapping[str, str]) -> None:
        self._dump = dump(bundle, environment)

    @operation("getConfigDump", response=ConfigSchema, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """Get the configuration without secrets."""
        call.require_superuser()
        return self._dump
