"""How long requests took, and when a site learned that a store is down: from its own log."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from site_machine import SiteMachine

# The log's words for a store that is not to be written to.
_DOWN = ("store marked unavailable", "store marked read-only")


@dataclass(frozen=True)
class Request:
    """A request that was answered: when it began (Unix time), and how many seconds it took."""

    began: float
    seconds: float
    what: str

    def __str__(self) -> str:
        return f"{self.what} took {self.seconds:.1f} s"


def requests(site: SiteMachine, since: float) -> list[Request]:
    """Return the requests that the site answered since then."""
    return [
        Request(
            _time(line) - line["milliseconds"] / 1000,
            line["milliseconds"] / 1000,
            f"{line['method']} {line['path']} ({line['status']})",
        )
        for line in _lines(site, since)
        if line["message"] == "request"
    ]


def learned(site: SiteMachine, location: str, since: float) -> list[float]:
    """Return when the site's processes learned since then that a location's store is down."""
    return [
        _time(line)
        for line in _lines(site, since)
        if line["message"] in _DOWN and line["location"] == location
    ]


def _lines(site: SiteMachine, since: float) -> list[dict[str, Any]]:
    command = f"journalctl --unit=atoll-registry --output=cat --since=@{since:.0f}"
    return [json.loads(line) for line in site.run(command).splitlines() if line.startswith("{")]


def _time(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["time"]).timestamp()
