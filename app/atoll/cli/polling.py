"""Poll the database for slow changes without loading it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

_PAUSE_SECONDS = 1.0


def poll(query: Callable[[], Found]) -> Found:
    """Pause, call QUERY, pause for as long as the call took, and return its result."""
    time.sleep(_PAUSE_SECONDS)
    began = time.monotonic()
    found = query()
    time.sleep(time.monotonic() - began)
    return found
