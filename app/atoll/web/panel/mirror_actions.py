"""What the forms of mirrors of repositories and of organizations share."""

from __future__ import annotations

from atoll.auth.organizations import OrganizationUnknown
from atoll.web.api.errors import InsufficientScope
from atoll.web.panel.mirror_form import WRITE_ONLY, Fields
from atoll.web.panel.page import is_local
from atoll.web.panel.robot_owner import RobotOwner
from atoll.web.panel.visit import Visit


def back(visit: Visit, path: str) -> str:
    """Return the page that the form was on if it names one, otherwise `path`."""
    wanted = visit.form.get("next", "")
    return wanted if is_local(wanted) else path


def fields_shown(visit: Visit, stored: Fields) -> Fields:
    """Return the texts of a form: those that were sent, except for passwords, or the stored ones.

    Args:
        visit: The request.
        stored: The texts of all fields of the form but the password.
    """
    if visit.form.get("action") != "settings":
        return stored
    return {name: visit.form.get(name, "") for name in stored if name != WRITE_ONLY}


def robots_of(visit: Visit, namespace: str) -> list[str]:
    """Return the names of the robots of a namespace; none if the caller may not list them."""
    own = visit.principal is not None and visit.principal.username == namespace
    try:
        found = RobotOwner(namespace, organization=not own).robots(visit)
    except (InsufficientScope, OrganizationUnknown):
        return []
    return [robot["name"] for robot in found]
