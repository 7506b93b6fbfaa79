"""Whether two locations are one place: the same bucket, and paths of which one is in the other.

Only what a configuration shows is compared. Two names of one service are found by the marker in the
store (`atoll.storage.marker`).
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
# Whose containers an account's or a project's are, where Swift's login is told.
_PROJECT = ("project_id", "tenant_id", "project_name", "tenant_name")


def shared_places(stores: Mapping[str, StoreSettings]) -> list[tuple[str, str]]:
    """Return the pairs of locations that would keep their objects in one place."""
    return [
        (one, other)
        for one, other in combinations(stores, 2)
        if _bucket(stores[one]) == _bucket(stores[other])
        and _overlap(_root(stores[one]), _root(stores[other]))
    ]


def _bucket(settings: StoreSettings) -> tuple[object, ...]:
    """Return what is equal for two locations in one bucket."""
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
    """Tell whether the names below one root may be below the other, too."""
    shorter, longer = sorted((one, other), key=len)
    inside = not shorter or shorter.endswith("/")
    return shorter == longer or (inside and longer.startswith(shorter))


def _service(url: str | None) -> tuple[str, int | None, str]:
    """Return host, port and path of a service's URL, as far as they tell it from others."""
    if url is None:
        return "amazon", None, ""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    # A bucket's name is Amazon's alone, in all its regions.
    if any(host == domain or host.endswith(f".{domain}") for domain in _AMAZON):
        return "amazon", None, ""
    port = None if parts.port == _DEFAULT_PORTS.get(parts.scheme) else parts.port
    return host, port, parts.path.strip("/")


def _swift_account(settings: SwiftSettings) -> tuple[str, ...]:
    """Return what names the account; some of it may be unknown and left to the login."""
    options = settings.os_options
    first_version = 1
    if settings.auth_version == first_version:
        account = settings.swift_user.partition(":")[0]
    else:
        named = [str(options[name]) for name in _PROJECT if options.get(name)]
        account = named[0] if named else settings.swift_user
    elsewhere = ("region_name", "object_storage_url")
    return account, *(str(options.get(name, "")) for name in elsewhere)
