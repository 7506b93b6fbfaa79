"""What the tabs of a repository share."""

from __future__ import annotations

from typing import Any

from atoll.names import RepositoryName
from atoll.web.panel.visit import Visit

TEMPLATE = "repository.html.j2"


def shown(visit: Visit, tab: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of `TEMPLATE` for a tab.

    The API has checked the permission for the values: superusers see the tab `mirroring` of
    repositories that they may not read.

    Args:
        visit: The request.
        tab: The name of the tab; its template is `repository_{tab}.html.j2`.
        values: The variables of that template.
    """
    return {"name": repository_of(visit), "tab": tab, **values}


def repository_of(visit: Visit) -> RepositoryName:
    """Return the repository in the path, without a check of permissions."""
    grant = visit.call.grant
    if grant is None:
        raise RuntimeError(f"{visit.req.uri_template} has no repository")
    return grant.repository
