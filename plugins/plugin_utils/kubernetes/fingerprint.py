"""The fingerprint of a bundle, as the registry computes it."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.atoll.registry.plugins.filter.bundle import bundle_problems

_LENGTH = 16


def bundle_fingerprint(config: Mapping[str, Any]) -> str:
    """Return the fingerprint of instances with this content of `config.yaml`."""
    # The filter makes the registry's package importable.
    bundle_problems({})
    return combined(importlib.import_module("atoll.config.fingerprint").fingerprint(config))


def combined(prints: Mapping[str, str]) -> str:
    """Return one hash for the hashes of all keys, which each instance reports."""
    return hashlib.sha256(json.dumps(prints, sort_keys=True).encode()).hexdigest()[:_LENGTH]
