"""Fetches layers as Clair does, and fails with the messages that it was recorded with."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

_PREFIX = "failed to fetch layers: fetcher: encountered errors: "
_TIMEOUT = 30


def fetch_failure(layers: list[dict[str, Any]]) -> str | None:
    """Fetch the layers of an index request; return Clair's message for the first that fails."""
    for layer in layers:
        failure = _failure(layer["hash"], layer.get("uri", ""), layer.get("headers") or {})
        if failure is not None:
            return _PREFIX + failure
    return None


def _failure(digest: str, uri: str, headers: dict[str, list[str]]) -> str | None:
    if not uri:
        return f"empty uri for layer {digest}"
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"}:
        return f'fetcher: request failed: Get "{uri}": unsupported protocol scheme "{parts.scheme}"'
    request = urllib.request.Request(uri)
    for name, values in headers.items():
        request.add_header(name, ", ".join(values))
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            found = hashlib.file_digest(response, "sha256").hexdigest()
    except urllib.error.HTTPError as error:
        start = error.read(256).decode(errors="replace").replace('"', '\\"')
        return f'unexpected status code: {error.code} {error.reason} (body starts: "{start}")'
    except OSError as error:
        return (
            f'fetcher: request failed: Get "{uri}": dial tcp {parts.netloc}: connect:'
            f" {getattr(error, 'reason', error)}"
        )
    expected = digest.removeprefix("sha256:")
    if found != expected:
        return f'fetcher: validation failed: got "{found}", expected "{expected}"'
    return None
