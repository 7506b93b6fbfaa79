"""`/repository/`: the repositories that the caller can see."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.page import form, page
from atoll.web.panel.visit import Visit


class RepositoriesPage:
    """`/repository/`."""

    @page("repositories.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show a page of the repositories, of one namespace or of all."""
        namespace = (visit.req.get_param("namespace") or "").strip()
        after = visit.req.get_param("next_page") or "0"
        starred = visit.req.get_param("starred") == "true" and visit.principal is not None
        query = {
            "namespace": namespace or None,
            "public": True,
            "starred": starred,
            "last_modified": True,
            "next_page": after,
        }
        found = visit.api("GET", "/repository", query=query)
        return {
            "repositories": found["repositories"],
            "namespace": namespace,
            "starred": starred,
            "after": after,
            "next_page": found.get("next_page"),
            "new": "name" in visit.form or visit.req.get_param("new") == "true",
        }

    @form()
    def on_post(self, visit: Visit) -> str:
        """Create a repository."""
        visit.require_changes()
        namespace, name = (visit.form.get(one, "").strip() for one in ("namespace", "name"))
        body = {
            "namespace": namespace,
            "repository": name,
            "visibility": visit.form.get("visibility", ""),
            "description": visit.form.get("description", "").replace("\r\n", "\n"),
        }
        visit.api("POST", "/repository", body=body)
        return f"/repository/{namespace}/{name}"
