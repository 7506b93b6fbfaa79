"""Events that users subscribe to, with their texts in messages to people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

INFO, SUCCESS, ERROR, PRIMARY = "info", "success", "error", "primary"


@dataclass(frozen=True)
class Event:
    """A kind of event in a repository. Names and levels are Quay's.

    Attributes:
        name: The name in the API.
        level: INFO, SUCCESS, ERROR or PRIMARY.
        text: Returns what happened to the repository, from the fields of the event.
        sample: The fields of a test notification.
    """

    name: str
    level: str
    text: Callable[[Mapping[str, Any]], str]
    sample: Mapping[str, Any]

    def summary(self, repository: str, event_data: Mapping[str, Any]) -> str:
        """Return one line of plain text for people."""
        return f"{repository} {self.text(event_data)}"


def _pushed(event_data: Mapping[str, Any]) -> str:
    return f"has been updated: {', '.join(event_data['updated_tags'])}"


def _mirror(what: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda event_data: f"{what}: {event_data['message']}"


def _vulnerable(event_data: Mapping[str, Any]) -> str:
    worst, tags = event_data["vulnerability"], ", ".join(event_data["tags"])
    others = len(event_data.get("vulnerabilities", ())) - 1
    more = f" and {others} more" if others > 0 else ""
    return f"has the vulnerability {worst['id']} ({worst['priority']}){more} in {tags}"


_TEST = {"message": "test notification"}
_VULNERABILITY = {
    "id": "CVE-2026-0001",
    "description": "This is a test notification.",
    "link": "https://cve.example/CVE-2026-0001",
    "priority": "Critical",
    "has_fix": True,
}

REPO_PUSH = Event("repo_push", PRIMARY, _pushed, {"updated_tags": ["latest"]})
REPO_MIRROR_SYNC_STARTED = Event(
    "repo_mirror_sync_started", INFO, _mirror("is being mirrored"), _TEST
)
REPO_MIRROR_SYNC_SUCCESS = Event(
    "repo_mirror_sync_success", SUCCESS, _mirror("has been mirrored"), _TEST
)
REPO_MIRROR_SYNC_FAILED = Event(
    "repo_mirror_sync_failed", ERROR, _mirror("could not be mirrored"), _TEST
)
VULNERABILITY_FOUND = Event(
    "vulnerability_found",
    ERROR,
    _vulnerable,
    {
        "tags": ["latest"],
        "vulnerability": _VULNERABILITY,
        "vulnerabilities": [_VULNERABILITY],
        "counts": {"Critical": 1, "Fixable": 1},
    },
)

EVENTS: Mapping[str, Event] = {
    event.name: event
    for event in (
        REPO_PUSH,
        REPO_MIRROR_SYNC_STARTED,
        REPO_MIRROR_SYNC_SUCCESS,
        REPO_MIRROR_SYNC_FAILED,
        VULNERABILITY_FOUND,
    )
}
