"""Look again and again at what changes slowly, without becoming the database's main occupation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

_PAUSE_SECONDS = 1.0


def look_later(look: Callable[[], Found]) -> Found:
    """Pause, LOOK, pause for as long as that took, and return what was found."""
    time.sleep(_PAUSE_SECONDS)
    began = time.monotonic()
    found = look()
    time.sleep(time.monotonic() - began)
    return found
