"""The permission of operators to make changes."""

from __future__ import annotations

from atoll.web.panel.visit import Visit


def require_operator(visit: Visit) -> None:
    """Require a superuser who may make changes, before a form asks for a confirmation.

    Raises:
        Unauthenticated: The caller is not signed in.
        InsufficientScope: The caller is no superuser, or an auditor.
    """
    visit.call.require_superuser()
    if not visit.may_change:
        raise visit.call.forbidden()
