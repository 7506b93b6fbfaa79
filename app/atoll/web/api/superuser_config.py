"""`superuser/config`: the configuration of the serving process, without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll.config import Bundle
from atoll.config.dump import dump
from atoll.web.api.operation import Call, operation


class SuperuserConfig:
    """`superuser/config`, with FEATURE_SUPERUSER_CONFIGDUMP."""

    def __init__(self, bundle: Bundle, environment: Mapping[str, str]) -> None:
        self._dump = dump(bundle, environment)

    @operation("getConfigDump", response=dict[str, dict[str, Any]], scope="super:user")
    def on_get(self, call: Call) -> Any:
        """Get the configuration without secrets."""
        call.require_superuser()
        return self._dump
