"""Hashes of a bundle's keys, by which sites that should have the same bundle can be compared."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

# Keys in which sites may differ: those for nearby services, and the password that only the first
# migration needs.
_OWN = frozenset(
    {"DISTRIBUTED_STORAGE_PREFERENCE", "DB_READ_REPLICAS", "INITIAL_SUPERUSER_PASSWORD"}
)
_SECRETS = ("DATABASE_SECRET_KEY", "SECRET_KEY")
# Also a secret that all sites share, where a bundle has none of those.
_SHARED_BY_ALL = "DB_URI"
_LENGTH = 16


def fingerprint(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return a hash for each key of RAW, keyed with the bundle's own secret.

    Without the secret nobody can try out passwords against the hashes; sites whose secrets differ
    differ in every key.
    """
    secrets = [str(raw[name]) for name in _SECRETS if name in raw]
    secret = "".join(secrets or [str(raw.get(_SHARED_BY_ALL, ""))]).encode()
    return {
        key: hmac.new(
            secret, json.dumps([key, value], sort_keys=True, default=str).encode(), hashlib.sha256
        ).hexdigest()[:_LENGTH]
        for key, value in raw.items()
        if key not in _OWN
    }
