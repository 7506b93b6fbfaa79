"""What the tabs of a repository share."""

from __future__ import annotations

from typing import Any

from atoll.auth.access import READ
from atoll.web.panel.visit import Visit

TEMPLATE = "repository.html.j2"


def shown(visit: Visit, tab: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of `TEMPLATE` for a tab.

    Args:
        visit: The request.
        tab: The name of the tab; its template is `repository_{tab}.html.j2`.
        values: The variables of that template.
    """
    return {"name": visit.call.require(READ), "tab": tab, **values}
