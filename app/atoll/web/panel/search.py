"""`/search`: find repositories, users, organizations, teams and robots by name."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.page import page
from atoll.web.panel.visit import Visit


class SearchPage:
    """`/search`."""

    @page("search.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show the search form and, for a query, its results."""
        text = (visit.req.get_param("q") or "").strip()
        found = visit.api("GET", "/find/all", query={"query": text}) if text else {"results": []}
        return {"text": text, "results": found["results"]}
