"""Which driver serves which settings.

A driver is imported where it is needed: the clients of the stores that a bundle does not name would
only cost each process memory and a slower start.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from atoll.config.stores import (
    AzureSettings,
    LocalSettings,
    S3StoreSettings,
    StoreSettings,
    SwiftSettings,
)
from atoll.storage.base import ObjectStore
from atoll.storage.observed_store import Observe, nobody

_DRIVERS: tuple[tuple[type[StoreSettings], str, str], ...] = (
    (S3StoreSettings, "atoll.storage.s3.driver", "S3ObjectStore"),
    (SwiftSettings, "atoll.storage.swift", "SwiftObjectStore"),
    (AzureSettings, "atoll.storage.azure", "AzureObjectStore"),
    (LocalSettings, "atoll.storage.local", "LocalObjectStore"),
)


def make_store(
    location: str,
    settings: StoreSettings,
    *,
    ca_bundle: str | None = None,
    observe: Observe = nobody,
) -> ObjectStore:
    """Return the store that SETTINGS describe; no request is made yet.

    CA_BUNDLE is a file of certificates that the store's TLS is checked against.
    """
    for kind, module, name in _DRIVERS:
        if isinstance(settings, kind):
            driver = getattr(import_module(module), name)
            return cast(
                ObjectStore, driver(location, settings, ca_bundle=ca_bundle, observe=observe)
            )
    raise TypeError(f"no driver for {type(settings).__name__}")
