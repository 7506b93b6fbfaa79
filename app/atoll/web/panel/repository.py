"""`/repository/{repository}`: a repository and its tags."""

from __future__ import annotations

from typing import Any

from atoll.auth.access import READ
from atoll.web.panel.page import page
from atoll.web.panel.visit import Visit

_TAGS = 50


class RepositoryPage:
    """`/repository/{repository}`."""

    @page("repository.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show a page of the tags of a repository or, with `tab=information`, its attributes."""
        shared = {"name": visit.call.require(READ), "grant": visit.call.grant}
        if visit.req.get_param("tab") == "information":
            query = {"includeTags": False}
            repository = visit.api("GET", "/repository/{repository}", query=query)
            return {**shared, "tab": "information", "repository": repository}
        return {**shared, "tab": "tags", **_tags(visit)}


def _tags(visit: Visit) -> dict[str, Any]:
    like = (visit.req.get_param("filter") or "").strip()
    number = visit.req.get_param("page") or "1"
    query = {"onlyActiveTags": True, "limit": _TAGS, "page": number, "replication": True}
    if like:
        query["filter_tag_name"] = f"like:{like}"
    found = visit.api("GET", "/repository/{repository}/tag/", query=query)
    return {
        "tags": found["tags"],
        "filter": like,
        "page": found["page"],
        "more": found["has_additional"],
    }
