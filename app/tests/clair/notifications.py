"""Pages of notifications, as they were recorded."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import parse_qs

# Relative, because the directory stands alone in a container image.
from .answers import Answer, json_answer, recorded

_SIZE = 500


def page_of(notification: dict[str, Any] | None, text: str) -> Answer:
    """Return a page of a notification; that of an unknown one is empty."""
    query = {name: values[-1] for name, values in parse_qs(text).items()}
    size, position = query.get("page_size", str(_SIZE)), query.get("next")
    if not size.isdecimal():
        return recorded("110")
    if position is not None and not is_uuid(position):
        return recorded("111")
    changes = notification["notifications"] if notification is not None else []
    left = [one for one in changes if position is None or one["id"] > position]
    page: dict[str, Any] = {"size": int(size)}
    if len(left) > int(size):
        left = left[: int(size)]
        page["next"] = left[-1]["id"]
    return json_answer(
        200,
        {"page": page, "notifications": left},
        content_type="application/vnd.clair.notification_page.v1+json",
    )


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
