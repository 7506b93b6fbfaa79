"""Read fields of manifests and configurations, which clients wrote, with their specified types."""

from __future__ import annotations

import re
from typing import Any

# Characters of a text that are reported.
TEXT_MAXIMUM = 4096
_PLATFORM = re.compile(r"[A-Za-z0-9._+-]{1,64}")


def artifact_type_of(document: dict[str, Any]) -> str | None:
    """Return the type of an artifact: by default, the media type of its configuration."""
    config = as_object(document.get("config"))
    return as_text(document.get("artifactType")) or as_text(config.get("mediaType"))


def platforms_of(document: dict[str, Any]) -> list[str]:
    """Return the platforms of an index, each once, without unknown ones.

    Tools list attestations of images with the platform `unknown/unknown`.
    """
    entries = as_objects(document.get("manifests"))
    found = [platform_of(as_object(entry.get("platform"))) for entry in entries]
    return list(dict.fromkeys(one for one in found if one and not one.startswith("unknown/")))


def platform_of(value: dict[str, Any]) -> str | None:
    """Return a platform as `linux/arm64/v8`; None unless its parts are valid."""
    parts = [value.get("os"), value.get("architecture"), value.get("variant") or None]
    given = [part for part in parts if part is not None]
    valid = all(isinstance(part, str) and _PLATFORM.fullmatch(part) for part in given)
    return "/".join(given) if valid and None not in parts[:2] else None


def as_object(value: object) -> dict[str, Any]:
    """Return an object; an empty one instead of another value."""
    return value if isinstance(value, dict) else {}


def as_objects(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list; none if the value is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def as_text(value: object) -> str | None:
    """Return a text, shortened; None instead of an empty or another value."""
    return value[:TEXT_MAXIMUM] if isinstance(value, str) and value else None
