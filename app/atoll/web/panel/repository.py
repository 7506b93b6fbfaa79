"""`/repository/{repository}`: a repository, its tags and its other tabs."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from atoll.auth.access import READ
from atoll.web.api.errors import NotFound
from atoll.web.panel.image import kind_of
from atoll.web.panel.log import log
from atoll.web.panel.page import Shown, form, page
from atoll.web.panel.repository_history import history
from atoll.web.panel.repository_mirror import change_mirror, mirroring
from atoll.web.panel.repository_notifications import notifications
from atoll.web.panel.repository_settings import information, settings
from atoll.web.panel.repository_tab import TEMPLATE, shown
from atoll.web.panel.security import SECURITY, summary_marks
from atoll.web.panel.visit import Visit

_TAGS = 50
# Platforms of an index in the list.
_PLATFORMS = 6
_STATISTICS = "/repository/{repository}/tag/{tag}/pull_statistics"


class RepositoryPage:
    """`/repository/{repository}`."""

    @page(TEMPLATE)
    def on_get(self, visit: Visit) -> dict[str, Any] | None:
        """Show the tags of a repository, or the tab that the parameter `tab` names."""
        tab = _tab(visit, _READERS)
        values = _READERS[tab](visit)
        return None if values is None else shown(visit, tab, values)

    @form()
    def on_post(self, visit: Visit) -> str | Shown:
        """Perform an action of a tab."""
        return _FORMS[_tab(visit, _FORMS)](visit)


def _tab(visit: Visit, known: Container[str]) -> str:
    tab = visit.req.get_param("tab") or "tags"
    if tab not in known:
        name = visit.call.require(READ)
        raise NotFound(f"the page of '{name}' has no tab '{tab[:100]}'")
    return tab


def _tags(visit: Visit) -> dict[str, Any]:
    like = (visit.req.get_param("filter") or "").strip()
    after = visit.req.get_param("next_page")
    pulls = visit.calls.serves(_STATISTICS) and _is_personal(visit)
    query = {
        "onlyActiveTags": True,
        "limit": _TAGS,
        "next_page": after,
        "replication": True,
        "platforms": True,
        "pulls": pulls,
        "security": visit.calls.serves(SECURITY),
    }
    if like:
        query["filter_tag_name"] = f"like:{like}"
    found = visit.api("GET", "/repository/{repository}/tag/", query=query)
    return {
        "tags": [
            {**one, "kind": kind_of(one), "parts": _parts(one), "marks": _marks(one)}
            for one in found["tags"]
        ],
        "pulls": pulls,
        "security": query["security"],
        "filter": like,
        "after": after,
        "next_page": found.get("next_page"),
    }


def _logs(visit: Visit) -> dict[str, Any]:
    path = f"/repository/{visit.call.require(READ)}"
    return {"path": path, **log(visit, "/repository/{repository}/logs")}


def _parts(tag: dict[str, Any]) -> list[str]:
    """Return the platforms of an index, and how many of its images can be pulled."""
    platforms, parts = tag.get("platforms", []), []
    if platforms:
        more = len(platforms) - _PLATFORMS
        parts = [*platforms[:_PLATFORMS], *([f"and {more} more"] if more > 0 else [])]
    if tag.get("is_sparse"):
        parts.append(f"{tag['present_child_count']} of {tag['child_manifest_count']} present")
    return parts


def _marks(tag: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the marks for the security scan of the image of a tag."""
    return summary_marks(tag["security"]) if "security" in tag else []


def _is_personal(visit: Visit) -> bool:
    """Return whether the caller has a permission beyond those of all users."""
    return visit.call.grant is not None and visit.call.grant.personal


_READERS: dict[str, Callable[[Visit], dict[str, Any] | None]] = {
    "tags": lambda visit: visit.live(lambda: _tags(visit)),
    "information": information,
    "history": history,
    "logs": _logs,
    "mirroring": mirroring,
    "settings": settings,
    "notifications": notifications,
}
_FORMS: dict[str, Callable[[Visit], str | Shown]] = {"mirroring": change_mirror}
