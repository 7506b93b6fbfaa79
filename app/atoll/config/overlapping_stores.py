"""Detection of locations that share objects: the same bucket with overlapping paths.

Only the configuration is compared. Different names of one service are detected by the marker object
in the store (`atoll.storage.location_marker`).
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from itertools import combinations
from urllib.parse import urlsplit

from atoll.config.stores import (
    AzureSettings,
    LocalSettings,
    S3StoreSettings,
    StoreSettings,
    SwiftSettings,
)

_DEFAULT_PORTS = {"http": 80, "https": 443}
_AMAZON = ("amazonaws.com", "amazonaws.com.cn")
# The options that identify a project, which owns the containers, in Swift's login.
_PROJECT_OPTIONS = ("project_id", "tenant_id", "project_name", "tenant_name")


def overlapping_stores(stores: Mapping[str, StoreSettings]) -> list[tuple[str, str]]:
    """Return the pairs of locations whose objects would be the same."""
    return [
        (one, other)
        for one, other in combinations(stores, 2)
        if _bucket(stores[one]) == _bucket(stores[other])
        and _overlap(_root(stores[one]), _root(stores[other]))
    ]


def _bucket(settings: StoreSettings) -> tuple[object, ...]:
    """Return an identity of the store's bucket, for comparison."""
    if isinstance(settings, S3StoreSettings):
        return "S3", _service(settings.endpoint), settings.bucket
    if isinstance(settings, SwiftSettings):
        account = _swift_account(settings)
        return "Swift", _service(settings.auth_url), *account, settings.swift_container
    if isinstance(settings, AzureSettings):
        account_name = settings.azure_account_name.lower()
        endpoint = settings.endpoint_url or f"https://{account_name}.blob.core.windows.net"
        return "Azure", _service(endpoint), account_name, settings.azure_container
    return (settings.driver,)


def _root(settings: StoreSettings) -> str:
    if isinstance(settings, LocalSettings):
        return posixpath.normpath(settings.storage_path).rstrip("/") + "/"
    return settings.root


def _overlap(one: str, other: str) -> bool:
    """Return whether the same object name can be below both roots."""
    shorter, longer = sorted((one, other), key=len)
    inside = not shorter or shorter.endswith("/")
    return shorter == longer or (inside and longer.startswith(shorter))


def _service(url: str | None) -> tuple[str, int | None, str]:
    """Return the host, port and path that identify a service."""
    if url is None:
        return "amazon", None, ""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    # Names of buckets are unique in all regions of Amazon.
    if any(host == domain or host.endswith(f".{domain}") for domain in _AMAZON):
        return "amazon", None, ""
    port = None if parts.port == _DEFAULT_PORTS.get(parts.scheme) else parts.port
    return host, port, parts.path.strip("/")


def _swift_account(settings: SwiftSettings) -> tuple[str, ...]:
    """Return the options that identify a Swift account, as far as they are configured."""
    options = settings.os_options
    first_version = 1
    if settings.auth_version == first_version:
        account = settings.swift_user.partition(":")[0]
    else:
        named = [str(options[name]) for name in _PROJECT_OPTIONS if options.get(name)]
        account = named[0] if named else settings.swift_user
    endpoint_options = ("region_name", "object_storage_url")
    return account, *(str(options.get(name, "")) for name in endpoint_options)
