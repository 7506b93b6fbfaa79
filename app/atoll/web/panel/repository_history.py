"""The history of the tags of a repository (Quay's time machine)."""

from __future__ import annotations

import time
from typing import Any

from atoll.names import parse_tag
from atoll.web.panel.visit import Visit

_ENTRIES = 50


def history(visit: Visit) -> dict[str, Any]:
    """Return a page of the history of all tags, or of those that the query selects."""
    tag = visit.req.get_param("tag")
    like = (visit.req.get_param("filter") or "").strip()
    after = visit.req.get_param("next_page")
    query: dict[str, Any] = {"limit": _ENTRIES, "next_page": after}
    if tag:
        query["specificTag"] = parse_tag(tag)
    elif like:
        query["filter_tag_name"] = f"like:{like}"
    found = visit.api("GET", "/repository/{repository}/tag/", query=query)
    return {
        "entries": [{**one, "current": is_current(one)} for one in found["tags"]],
        "tag": tag,
        "filter": like,
        "after": after,
        "next_page": found.get("next_page"),
    }


def is_current(entry: dict[str, Any]) -> bool:
    """Return whether an entry of the API has not ended; it may expire in the future."""
    return "end_ts" not in entry or entry["end_ts"] > time.time()
