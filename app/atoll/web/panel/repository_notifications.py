"""Notifications of events in a repository."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll.auth.access import ADMIN
from atoll.notifications.events import (
    REPO_MIRROR_SYNC_FAILED,
    REPO_MIRROR_SYNC_STARTED,
    REPO_MIRROR_SYNC_SUCCESS,
    REPO_PUSH,
    VULNERABILITY_FOUND,
)
from atoll.notifications.subscriptions import (
    EMAIL,
    FAILURES_MAXIMUM,
    QUAY_NOTIFICATION,
    SLACK,
    WEBHOOK,
)
from atoll.scanning.severities import Severity
from atoll.web.api.errors import InvalidRequest
from atoll.web.panel.page import form, page
from atoll.web.panel.repository_tab import TEMPLATE, shown
from atoll.web.panel.security import SECURITY
from atoll.web.panel.visit import Visit

_LIST = "/repository/{repository}/notification/"
_ADDRESS = "/repository/{repository}/authorizedemail/{email}"
EVENTS = {
    REPO_PUSH.name: "push",
    REPO_MIRROR_SYNC_STARTED.name: "mirror started",
    REPO_MIRROR_SYNC_SUCCESS.name: "mirror succeeded",
    REPO_MIRROR_SYNC_FAILED.name: "mirror failed",
    VULNERABILITY_FOUND.name: "vulnerability found",
}
_MIRROR_EVENTS = {
    REPO_MIRROR_SYNC_STARTED.name,
    REPO_MIRROR_SYNC_SUCCESS.name,
    REPO_MIRROR_SYNC_FAILED.name,
}
# The lowest severity that a notification of vulnerabilities selects, by Quay's number.
LEVELS = [(str(severity.level), severity.label) for severity in sorted(Severity, reverse=True)]
METHODS = {
    WEBHOOK: "Webhook",
    SLACK: "Slack",
    EMAIL: "E-mail",
    QUAY_NOTIFICATION: "In the registry",
}
# What a form reports on the page that follows it, by the parameter `done`.
_DONE = {
    "test": "A test was queued. The receiver gets it within some seconds.",
    "confirm": "A link was sent to the address. Add the notification when its owner has confirmed.",
}


def notifications(visit: Visit) -> dict[str, Any]:
    """Return the notifications of a repository with their receivers."""
    found = visit.api("GET", _LIST)["notifications"]
    return {
        "notifications": [{**one, "receiver": _receiver(one["config"])} for one in found],
        "events": EVENTS,
        "methods": METHODS,
        "failures_maximum": FAILURES_MAXIMUM,
        "done": _DONE.get(visit.req.get_param("done") or ""),
    }


class NotificationForm:
    """`/repository/{repository}/notifications`."""

    @page(TEMPLATE)
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show the tab with the forms."""
        return shown(visit, "notifications", notifications(visit))

    @form()
    def on_post(self, visit: Visit) -> str:
        """Test, enable again or delete a notification, as the button `action` says."""
        action, uuid = visit.form.get("action"), visit.form.get("uuid", "")
        path = f"{_LIST}{{uuid}}"
        if action == "test":
            visit.api("POST", f"{path}/test", uuid=uuid)
            return _path(visit, "test")
        if action == "enable":
            visit.api("POST", path, uuid=uuid)
        elif action == "delete":
            visit.api("DELETE", path, uuid=uuid)
        else:
            raise InvalidRequest("action: must be test, enable or delete")
        return _path(visit)


class NewNotification:
    """`/repository/{repository}/notifications/new`."""

    @page("notification_new.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show the form of a method."""
        method = visit.form.get("method") or visit.req.get_param("method") or WEBHOOK
        if method not in METHODS:
            raise InvalidRequest(f"method: must be one of {', '.join(METHODS)}")
        return {
            "name": visit.call.require(ADMIN),
            "method": method,
            "methods": METHODS,
            "events": _events(visit),
            "levels": LEVELS if VULNERABILITY_FOUND.name in _events(visit) else [],
            "mails": visit.calls.serves(_ADDRESS),
        }

    @form()
    def on_post(self, visit: Visit) -> str:
        """Add a notification or, with the button `confirm`, ask the owner of an address."""
        fields = visit.form
        if "confirm" in fields:
            visit.api("POST", _ADDRESS, email=fields.get("email", "").strip())
            return _path(visit, "confirm")
        method = fields.get("method", "")
        body = {
            "event": fields.get("event", ""),
            "method": method,
            "title": fields.get("title", "").strip() or None,
            "config": _config(method, fields),
        }
        if body["event"] == VULNERABILITY_FOUND.name:
            body["eventConfig"] = {"level": _level(fields.get("level", ""))}
        visit.api("POST", _LIST, body=body)
        return _path(visit)


def _events(visit: Visit) -> dict[str, str]:
    """Return the texts of the events that can happen, by name."""
    left_out = set()
    if not visit.calls.serves("/repository/{repository}/mirror"):
        left_out |= _MIRROR_EVENTS
    if not visit.calls.serves(SECURITY):
        left_out.add(VULNERABILITY_FOUND.name)
    return {name: text for name, text in EVENTS.items() if name not in left_out}


def _config(method: str, fields: Mapping[str, str]) -> dict[str, Any]:
    if method == EMAIL:
        return {"email": fields.get("email", "").strip()}
    if method == QUAY_NOTIFICATION:
        kind = fields.get("target_kind", "")
        return {"target": {"kind": kind, "name": fields.get("target", "").strip()}}
    return {"url": fields.get("url", "").strip()}


def _level(text: str) -> int:
    """Return the number of a severity. Raises InvalidRequest."""
    if text not in dict(LEVELS):
        raise InvalidRequest("level: must be a severity of the list")
    return int(text)


def _receiver(config: Mapping[str, Any]) -> str:
    """Return the receiver of a notification as text."""
    if "target" in config:
        return f"{config['target'].get('kind')} {config['target'].get('name')}"
    return str(config.get("url") or config.get("email") or "")


def _path(visit: Visit, done: str | None = None) -> str:
    page = f"/repository/{visit.call.require(ADMIN)}?tab=notifications"
    return f"{page}&done={done}" if done else page
