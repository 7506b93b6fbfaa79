"""What the forms of mirrors of repositories and of organizations share."""

from __future__ import annotations

from atoll.web.panel.mirror_form import WRITE_ONLY, Fields
from atoll.web.panel.page import is_local
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
