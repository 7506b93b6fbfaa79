"""Posts notifications to the registry as the recorded webhooks were posted."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt

ISSUER = "clair-notifier"
DELIVERED = 200


def notification_token(
    key: bytes, *, algorithm: str = "HS256", now: float | None = None, **claims: Any
) -> str:
    """Return the token of a webhook.

    Args:
        key: The key.
        algorithm: The algorithm of the signature.
        now: The time in seconds since 1970; None for the current one.
        claims: Claims that replace Clair's; those that are None are left out.
    """
    issued = int(time.time() if now is None else now)
    times = {"iss": ISSUER, "iat": issued - 1, "nbf": issued - 61, "exp": issued + 59}
    used = {name: value for name, value in (times | claims).items() if value is not None}
    return jwt.encode(used, key, algorithm=algorithm)


def post_webhook(
    target: str,
    identifier: str,
    callback: str,
    token: str | None,
    *,
    ca_bundle: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> int:
    """Post a notification in chunks, and return the status of the response.

    Args:
        target: The URL of the registry's webhook.
        identifier: The id of the notification.
        callback: The URL of the notification at this server.
        token: The token; None for none.
        ca_bundle: A file of CA certificates; None to use those of the system.
        headers: Additional headers.
    """
    parts = urlsplit(target)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=ca_bundle)
        connection = http.client.HTTPSConnection(parts.netloc, timeout=30, context=context)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    sent = {
        "User-Agent": "bin-clair/v4.9.0",
        "Content-Type": "application/json",
        "Accept-Encoding": "gzip",
        **({"Authorization": f"Bearer {token}"} if token is not None else {}),
        **(headers or {}),
    }
    body = json.dumps({"notification_id": identifier, "callback": callback}).encode()
    try:
        connection.request("POST", parts.path or "/", iter([body]), sent, encode_chunked=True)
        return connection.getresponse().status
    finally:
        connection.close()
