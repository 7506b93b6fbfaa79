"""`/`: the first page."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.page import page
from atoll.web.panel.visit import Visit

# Repositories of each list; the link below it leads to all. Messages, the latest.
_SHOWN = 12
_MESSAGES = 10


class Home:
    """`/`."""

    @page("home.html.j2", before_login=True)
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show messages, and the caller's starred repositories or, to visitors, the public ones."""
        if visit.principal is None and not visit.calls.anonymous:
            return {"messages": [], "repositories": None, "more": False}
        messages = visit.api("GET", "/messages")["messages"]
        selection = {"public": True} if visit.principal is None else {"starred": True}
        found = visit.api("GET", "/repository", query={**selection, "last_modified": True})
        repositories = found["repositories"]
        return {
            "messages": messages[-_MESSAGES:],
            "repositories": repositories[:_SHOWN],
            "more": len(repositories) > _SHOWN or "next_page" in found,
        }
