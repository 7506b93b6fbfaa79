"""The tab `logs` of repositories, organizations and users."""

from __future__ import annotations

import json
from datetime import date, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from atoll.web.api.errors import InvalidRequest
from atoll.web.panel.log_sentences import sentence
from atoll.web.panel.visit import Visit

_DAY = timedelta(days=1)


def log(visit: Visit, operation: str, **parameters: str) -> dict[str, Any]:
    """Return the variables of `log.html.j2`: a page of the log of a period, the latest first.

    Args:
        visit: The request.
        operation: The URI template of the operation of the API.
        parameters: The fields of the template other than the repository.
    """
    first, last = visit.req.get_param("from"), visit.req.get_param("until")
    performer = (visit.req.get_param("performer") or "").strip()
    after = visit.req.get_param("next_page")
    query = {
        "starttime": _day(first, "from"),
        "endtime": _day(last, "until"),
        "performer": performer or None,
        "next_page": after,
    }
    found = visit.api("GET", operation, query=query, **parameters)
    return {
        "entries": [_shown(one) for one in found["logs"]],
        "first": parsedate_to_datetime(found["start_time"]).date(),
        # The end of the API is exclusive.
        "last": (parsedate_to_datetime(found["end_time"]) - _DAY).date(),
        "performer": performer,
        "after": after,
        "next_page": found.get("next_page"),
    }


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    details = {name: entry[name] for name in ("kind", "ip", "metadata")}
    return {
        "sentence": sentence(entry["kind"], entry["metadata"]),
        "performer": entry["performer"]["name"] if "performer" in entry else None,
        "at": entry["datetime"],
        "namespace": entry["namespace"],
        "repository": entry["repository"],
        "details": json.dumps(details, indent=2, ensure_ascii=False),
    }


def _day(text: str | None, name: str) -> str | None:
    """Convert the value of a date field to a day of the API."""
    if not text:
        return None
    try:
        return date.fromisoformat(text).strftime("%m/%d/%Y")
    except ValueError as error:
        raise InvalidRequest(f"{name}: write the day as YYYY-MM-DD") from error
