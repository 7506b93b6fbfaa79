"""`/superuser/logs`: the log of the whole registry."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.log import log
from atoll.web.panel.page import page
from atoll.web.panel.visit import Visit

_LOGS = "/superuser/logs"


class RegistryLogPage:
    """`/superuser/logs`."""

    @page("registry_log.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show the log of a period, of all namespaces."""
        return {**log(visit, _LOGS), "path": _LOGS}
