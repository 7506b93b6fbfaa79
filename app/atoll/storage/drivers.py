"""Which driver serves which settings."""

from __future__ import annotations

from atoll.config.stores import S3StoreSettings, StoreSettings
from atoll.storage.interface import ObjectStore
from atoll.storage.observed import Observe, nobody
from atoll.storage.s3 import S3ObjectStore


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
    if isinstance(settings, S3StoreSettings):
        return S3ObjectStore(location, settings, ca_bundle=ca_bundle, observe=observe)
    raise TypeError(f"no driver for {type(settings).__name__}")
