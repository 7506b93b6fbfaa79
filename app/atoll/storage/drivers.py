"""Create the driver for a location's settings.

Drivers are imported on demand: the clients of store types that a bundle does not use would cost
each process memory and start-up time.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any, cast

from atoll.config.stores import (
    AzureSettings,
    LocalSettings,
    S3StoreSettings,
    StoreSettings,
    SwiftSettings,
)
from atoll.storage.base import ObjectStore
from atoll.storage.observed_store import Observe, ignore_outcome

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
    observe: Observe = ignore_outcome,
) -> ObjectStore:
    """Return the store of a location, without making a request.

    Args:
        location: the location's name.
        settings: its settings in the bundle.
        ca_bundle: a file of CA certificates, None for the default ones.
        observe: records the outcome of each request.
    """
    driver = _driver(settings)
    return cast(ObjectStore, driver(location, settings, ca_bundle=ca_bundle, observe=observe))


def preload_drivers(stores: Iterable[StoreSettings]) -> None:
    """Load what processes that are forked later share of the drivers of some stores."""
    for settings in stores:
        _driver(settings).preload()


def _driver(settings: StoreSettings) -> Any:
    for kind, module, name in _DRIVERS:
        if isinstance(settings, kind):
            return getattr(import_module(module), name)
    raise TypeError(f"no driver for {type(settings).__name__}")
