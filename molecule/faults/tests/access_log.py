"""The durations of requests and the detection of store failures, read from a site's log."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from site_machine import SiteMachine

# Events after which a site does not write to a store.
_DOWN = ("store marked unavailable", "store marked read-only")


@dataclass(frozen=True)
class Request:
    """A request with its start (Unix time), its duration in seconds and its description."""

    began: float
    seconds: float
    what: str

    def __str__(self) -> str:
        return f"{self.what} took {self.seconds:.1f} s"


def requests(site: SiteMachine, since: float) -> list[Request]:
    """Return the requests that the site has answered since a time (Unix time)."""
    return [
        Request(
            _time(line) - line["milliseconds"] / 1000,
            line["milliseconds"] / 1000,
            f"{line['method']} {line['path']} ({line['status']})",
        )
        for line in _lines(site, since)
        if line["message"] == "request"
    ]


def detections(site: SiteMachine, location: str, since: float) -> list[float]:
    """Return when the processes of the site marked the store of a location as unavailable."""
    return [
        _time(line)
        for line in _lines(site, since)
        if line["message"] in _DOWN and line["location"] == location
    ]


def _lines(site: SiteMachine, since: float) -> list[dict[str, Any]]:
    # Whole seconds, rounded down: a killed store is detected within half a second.
    command = f"journalctl --unit=atoll-registry --output=cat --since=@{int(since)}"
    lines = (json.loads(line) for line in site.run(command).splitlines() if line.startswith("{"))
    return [line for line in lines if _time(line) >= since]


def _time(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["time"]).timestamp()
