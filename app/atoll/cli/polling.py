"""Poll the database for slow changes without loading it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

_PAUSE_SECONDS = 1.0


def look_later(look: Callable[[], Found]) -> Found:
    """Pause, call LOOK, pause for as long as the call took, and return its result."""
    time.sleep(_PAUSE_SECONDS)
    began = time.monotonic()
    found = look()
    time.sleep(time.monotonic() - began)
    return found
