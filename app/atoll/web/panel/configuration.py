"""`/superuser/config`: the configuration of a process, and the differences between instances."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from atoll.web.panel.page import page
from atoll.web.panel.visit import Visit

_CONFIG = "/superuser/config"
# Longer values are shown indented, in a block of their own.
_LINE_MAXIMUM = 80


class ConfigurationPage:
    """`/superuser/config`."""

    @page("configuration.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show keys, those without effect, and instances whose bundle differs.

        The values of keys are shown only with FEATURE_SUPERUSER_CONFIGDUMP, as by the API.
        """
        instances = visit.api("GET", "/superuser/instances")["instances"]
        dump = visit.api("GET", _CONFIG) if visit.calls.serves(_CONFIG) else None
        keys = [] if dump is None else _keys(dump)
        return {
            "instances": instances,
            "dump": dump,
            "given": [one for one in keys if one["given"]],
            "defaults": [one for one in keys if not one["given"]],
        }


def _keys(dump: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the keys with their values as JSON and their descriptions."""
    described, given = dump["schema"]["properties"], frozenset(dump["bundle_keys"])
    return [
        {
            "name": name,
            "value": _text(value),
            "description": described.get(name, {}).get("description", ""),
            "given": name in given,
        }
        for name, value in sorted(dump["config"].items())
    ]


def _text(value: Any) -> str:
    line = json.dumps(value, ensure_ascii=False)
    return line if len(line) <= _LINE_MAXIMUM else json.dumps(value, indent=2, ensure_ascii=False)
