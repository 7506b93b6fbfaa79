"""Versions of the live parts of pages, which browsers request again every few seconds.

A browser sends the version that it shows as `If-None-Match`. While it is current, the page answers
304 without rendering anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import atoll

_LENGTH = 24


def version_of(document: Any) -> str:
    """Return the version of what a page shows: the same for equal documents of the API."""
    text = json.dumps([atoll.__version__, document], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


class LiveVersions:
    """The version of a report that is the same object while it does not change.

    Requests for an unchanged report do not compute its version again.
    """

    def __init__(self, shown: Callable[[Any], Any] = lambda report: report) -> None:
        """Make the versions.

        Args:
            shown: Returns the part of a report that the page shows.
        """
        self._shown = shown
        self._last: tuple[Any, str] = (None, "")

    def of(self, report: Any) -> str:
        """Return the version of a report."""
        known, version = self._last
        if known is not report:
            version = version_of(self._shown(report))
            self._last = (report, version)
        return version
