"""The tab `mirroring` of a repository: its mirror, the current run and the tags."""

from __future__ import annotations

from typing import Any

from atoll.mirroring.errors import MirrorUnknown
from atoll.mirroring.rules.values import ARCHITECTURES, TIMEOUT_MINIMUM
from atoll.web.api.errors import InvalidRequest
from atoll.web.panel import mirror_form
from atoll.web.panel.mirror_actions import back, fields_shown, robots_of
from atoll.web.panel.page import Shown
from atoll.web.panel.repository_tab import TEMPLATE, repository_of, shown
from atoll.web.panel.visit import Visit

_MIRROR = "/repository/{repository}/mirror"
_TAGS = 50
# Operations without a body that the API performs at once.
_ACTIONS = {"sync": "sync-now", "cancel": "sync-cancel"}
_STATES = {
    "": "All",
    "pending": "To be copied",
    "failed": "Failed",
    "current": "Copied",
    "gone": "Missing at the upstream",
}


def mirroring(visit: Visit) -> dict[str, Any] | None:
    """Return the state of the mirror or, if there is none or with `edit=true`, its form.

    Returns:
        The variables of the template; None if the browser shows the current state already. States
        of tags change during runs only, of which the mirror has the counts.
    """
    documents = visit.live(lambda: [_mirror(visit)])
    if documents is None:
        return None
    (mirror,) = documents
    if mirror is None or visit.req.get_param("edit") == "true":
        return {
            "mirror": mirror,
            "editing": True,
            "fields": fields_shown(visit, _fields(mirror)),
            "units": mirror_form.UNITS,
            "architectures": ARCHITECTURES,
            "robots": robots_of(visit, repository_of(visit).namespace),
        }
    state = visit.req.get_param("state") or ""
    after = visit.req.get_param("next_page") or ""
    query = {"state": state or None, "limit": _TAGS, "next_page": after}
    found = visit.api("GET", f"{_MIRROR}/tags", query=query)
    return {
        "mirror": mirror,
        "editing": False,
        "tags": found["tags"],
        "next_page": found.get("next_page"),
        "after": after,
        "state": state,
        "states": _STATES,
        "plan": None,
        "verification": None,
    }


def change_mirror(visit: Visit) -> str | Shown:
    """Perform the action that the form names, and return the path of the next page or a result."""
    action = visit.form.get("action", "")
    if action in _ACTIONS:
        visit.api("POST", f"{_MIRROR}/{_ACTIONS[action]}")
    elif action in {"enable", "disable"}:
        visit.api("PUT", _MIRROR, body={"is_enabled": action == "enable"})
    elif action == "plan":
        return _with_result(visit, plan=visit.api("POST", f"{_MIRROR}/plan"))
    elif action == "verify":
        return _with_result(visit, verification=visit.api("POST", f"{_MIRROR}/verify"))
    elif action == "confirm":
        visit.require_fresh_login()
        visit.api("POST", f"{_MIRROR}/confirm-deletions")
    elif action == "delete":
        visit.require_name("name", str(repository_of(visit)))
        visit.require_fresh_login()
        visit.api("DELETE", _MIRROR)
    elif action == "settings":
        _save(visit)
    else:
        raise InvalidRequest("action: is not an action of a mirror")
    return back(visit, f"/repository/{repository_of(visit)}?tab=mirroring")


def _with_result(visit: Visit, **result: Any) -> Shown:
    return Shown(TEMPLATE, shown(visit, "mirroring", {**(mirroring(visit) or {}), **result}))


def _mirror(visit: Visit) -> dict[str, Any] | None:
    """Return the mirror as the API does; None if the repository is none."""
    try:
        found: dict[str, Any] = visit.api("GET", _MIRROR)
    except MirrorUnknown:
        return None
    return found


def _save(visit: Visit) -> None:
    """Create the mirror, or change all settings of the form."""
    before, form = _mirror(visit), visit.form
    body = {
        **mirror_form.shared_body(form, before),
        "external_reference": form.get("external_reference", "").strip(),
        "root_rule": mirror_form.tag_rule(form),
        "architecture_filter": mirror_form.architectures_body(form),
        "skopeo_timeout_interval": mirror_form.timeout_body(form),
        "atoll": mirror_form.options_body(form),
    }
    visit.api("POST" if before is None else "PUT", _MIRROR, body=body)


def _fields(mirror: dict[str, Any] | None) -> mirror_form.Fields:
    shown = mirror or {}
    patterns = shown.get("root_rule", {}).get("rule_value", [])
    return {
        "external_reference": shown.get("external_reference", ""),
        **mirror_form.shared_fields(mirror, patterns),
        **mirror_form.architecture_fields(shown.get("architecture_filter", [])),
        **mirror_form.timeout_fields(shown.get("skopeo_timeout_interval", TIMEOUT_MINIMUM)),
    }
