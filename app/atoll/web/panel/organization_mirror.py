"""The tab `mirroring` of an organization: its mirror, and the repositories of the upstream."""

from __future__ import annotations

from typing import Any

from atoll.mirroring.errors import OrganizationMirrorUnknown
from atoll.mirroring.rules.values import ARCHITECTURES, ORGANIZATION_TIMEOUT_DEFAULT
from atoll.web.api.errors import InvalidRequest
from atoll.web.panel import mirror_form
from atoll.web.panel.mirror_actions import back, fields_shown, robots_of
from atoll.web.panel.visit import Visit

_MIRROR = "/organization/{orgname}/mirror"
_REPOSITORIES = 50
# Operations without a body that the API performs at once.
_ACTIONS = {"sync": "sync-now", "cancel": "sync-cancel"}
# Fields that the API has under the same names.
_TEXTS = ("external_registry_type", "external_registry_url", "external_namespace", "visibility")
_STATUSES = {
    "": "All",
    "SYNCING": "Running",
    "FAIL": "Failed",
    "SUCCESS": "Succeeded",
    "NEVER_RUN": "Never run",
    "SKIP": "Not selected",
}


def mirroring(visit: Visit, orgname: str) -> dict[str, Any]:
    """Return the state of the mirror or, if there is none or with `edit=true`, its form."""
    mirror = _mirror(visit, orgname)
    if mirror is None or visit.req.get_param("edit") == "true":
        return {
            "mirror": mirror,
            "editing": True,
            "fields": fields_shown(visit, _fields(mirror)),
            "units": mirror_form.UNITS,
            "architectures": ARCHITECTURES,
            "robots": robots_of(visit, orgname),
        }
    status = visit.req.get_param("status") or ""
    query = {
        "status": status or None,
        "limit": _REPOSITORIES,
        "page": visit.req.get_param("page") or "1",
    }
    found = visit.api("GET", f"{_MIRROR}/repositories", query=query, orgname=orgname)
    return {
        "mirror": mirror,
        "editing": False,
        "repositories": found["repositories"],
        "page": found["page"],
        "more": found["has_next"],
        "status": status,
        "statuses": _STATUSES,
        "plan": None,
        "verification": None,
    }


def change_mirror(visit: Visit, orgname: str) -> str | dict[str, Any]:
    """Perform the action that the form names, and return the path of the next page or a result."""
    action = visit.form.get("action", "")
    if action in _ACTIONS:
        visit.api("POST", f"{_MIRROR}/{_ACTIONS[action]}", orgname=orgname)
    elif action in {"enable", "disable"}:
        visit.api("PUT", _MIRROR, body={"is_enabled": action == "enable"}, orgname=orgname)
    elif action == "plan":
        plan = visit.api("POST", f"{_MIRROR}/plan", orgname=orgname)
        return {**mirroring(visit, orgname), "plan": plan}
    elif action == "verify":
        verification = visit.api("POST", f"{_MIRROR}/verify", orgname=orgname)
        return {**mirroring(visit, orgname), "verification": verification}
    elif action == "delete":
        visit.require_name("name", orgname)
        visit.require_fresh_login()
        visit.api("DELETE", _MIRROR, orgname=orgname)
    elif action == "settings":
        _save(visit, orgname)
    else:
        raise InvalidRequest("action: is not an action of a mirror")
    return back(visit, f"/organization/{orgname}?tab=mirroring")


def _mirror(visit: Visit, orgname: str) -> dict[str, Any] | None:
    """Return the mirror as the API does; None if the organization is none."""
    try:
        found: dict[str, Any] = visit.api("GET", _MIRROR, orgname=orgname)
    except OrganizationMirrorUnknown:
        return None
    return found


def _save(visit: Visit, orgname: str) -> None:
    """Create the mirror, or change all settings of the form."""
    before, form = _mirror(visit, orgname), visit.form
    body = {
        **mirror_form.shared_body(form, before),
        **{name: form.get(name, "").strip() for name in _TEXTS},
        "repository_filters": mirror_form.lines(form, "repository_filters"),
        "skopeo_timeout": mirror_form.timeout_body(form),
        "atoll": {
            **mirror_form.options_body(form),
            "tags": mirror_form.tag_rule(form) if mirror_form.lines(form, "patterns") else None,
            "architecture_filter": mirror_form.architectures_body(form),
        },
    }
    visit.api("POST" if before is None else "PUT", _MIRROR, body=body, orgname=orgname)


def _fields(mirror: dict[str, Any] | None) -> mirror_form.Fields:
    shown = mirror or {"external_registry_type": "quay", "visibility": "private"}
    options = shown.get("atoll", {})
    patterns = options.get("tags", {}).get("rule_value", [])
    return {
        **{name: shown.get(name, "") for name in _TEXTS},
        "repository_filters": "\n".join(shown.get("repository_filters", [])),
        **mirror_form.shared_fields(mirror, patterns),
        **mirror_form.architecture_fields(options.get("architecture_filter", [])),
        **mirror_form.timeout_fields(shown.get("skopeo_timeout", ORGANIZATION_TIMEOUT_DEFAULT)),
    }
