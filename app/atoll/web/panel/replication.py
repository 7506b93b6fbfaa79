"""`/superuser/replication`: pending copies, their curves, and failing tasks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from atoll.web.api.errors import InvalidRequest
from atoll.web.panel.curve import HEIGHT, WIDTH, lag_curve
from atoll.web.panel.page import form, page
from atoll.web.panel.visit import Visit

_REPLICATION = "/superuser/replication"
PERIODS = {1: "1 hour", 24: "1 day", 168: "7 days"}
_FAILING = 50
# Points of a curve, of which the table below it lists the latest. With more, the page of many
# locations takes hundreds of milliseconds.
_POINTS = 100
_ROWS = 12


class ReplicationPage:
    """`/superuser/replication`."""

    @page("replication.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show the lag of each location over time, and copies that fail."""
        hours = _period(visit.req.get_param("hours") or "1")
        query = {"limit": _FAILING, "next_page": visit.req.get_param("next_page") or "0"}
        found = visit.api("GET", _REPLICATION, query=query)
        lag = visit.api("GET", f"{_REPLICATION}/lag", query={"hours": hours, "points": _POINTS})
        now = datetime.now(UTC)
        samples = {one["location"]: one["samples"] for one in lag["locations"]}
        curves = {
            name: lag_curve(points, now=now, hours=hours, interval=lag["interval_seconds"])
            for name, points in samples.items()
        }
        return {
            "locations": found["locations"],
            "failing": found["failing"],
            "next_page": found.get("next_page"),
            "first_page": query["next_page"] != "0",
            "hours": hours,
            "periods": PERIODS,
            "curves": curves,
            "rows": {name: points[: -_ROWS - 1 : -1] for name, points in samples.items()},
            "width": WIDTH,
            "height": HEIGHT,
        }


class RetryForm:
    """`/superuser/replication/retry`."""

    @form()
    def on_post(self, visit: Visit) -> str:
        """Retry failing copies now."""
        body: dict[str, Any] = {}
        # A portion at a time, so that no statement changes many rows.
        while "next_page" in (done := visit.api("POST", f"{_REPLICATION}/retry", body=body)):
            body = {"next_page": done["next_page"]}
        return f"{_REPLICATION}#failing"


def _period(text: str) -> int:
    if text not in map(str, PERIODS):
        raise InvalidRequest(f"hours: must be one of {', '.join(map(str, PERIODS))}")
    return int(text)
