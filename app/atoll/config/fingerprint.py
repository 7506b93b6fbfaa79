"""Hashes of a bundle's keys, for comparing the bundles of sites."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

# Keys that may differ between sites: those for nearby services, and the password that only the
# first migration needs.
_SITE_KEYS = frozenset(
    {"DISTRIBUTED_STORAGE_PREFERENCE", "DB_READ_REPLICAS", "INITIAL_SUPERUSER_PASSWORD"}
)
_SECRETS = ("DATABASE_SECRET_KEY", "SECRET_KEY")
# A secret that all sites share even if their bundles have none of the above.
_FALLBACK_SECRET = "DB_URI"  # noqa: S105 - the name of a key
_LENGTH = 16


def fingerprint(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return a hash of each key's value, keyed with the bundle's own secret.

    The secret prevents guessing passwords by their hashes. Sites with different secrets differ in
    every key.
    """
    secrets = [str(raw[name]) for name in _SECRETS if name in raw]
    secret = "".join(secrets or [str(raw.get(_FALLBACK_SECRET, ""))]).encode()
    return {
        key: hmac.new(
            secret, json.dumps([key, value], sort_keys=True, default=str).encode(), hashlib.sha256
        ).hexdigest()[:_LENGTH]
        for key, value in raw.items()
        if key not in _SITE_KEYS
    }


def combined(prints: Mapping[str, str]) -> str:
    """Return one hash for the hashes of all keys, which is equal for equal bundles."""
    return hashlib.sha256(json.dumps(prints, sort_keys=True).encode()).hexdigest()[:_LENGTH]
