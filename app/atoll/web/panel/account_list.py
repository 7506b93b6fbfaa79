"""Lists of users and organizations with a filter and pages."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.visit import Visit

_ACCOUNTS = 50


def account_list(visit: Visit, operation: str) -> dict[str, Any]:
    """Return a page of accounts, and the variables of its filter and paging."""
    contains = (visit.req.get_param("contains") or "").strip()
    after = visit.req.get_param("next_page") or ""
    query = {"contains": contains, "next_page": after, "limit": _ACCOUNTS}
    found = visit.api("GET", operation, query=query)
    return {
        "contains": contains,
        "after": after,
        "next_page": found.get("next_page"),
        "accounts": found.get("users") or found.get("organizations") or [],
    }
