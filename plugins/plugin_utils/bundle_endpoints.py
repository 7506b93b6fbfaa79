"""The servers in a configuration bundle, for checks that run without the registry's image."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Endpoint = dict[str, Any]

BUNDLE_DIRECTORY = "/conf/stack/"
_HTTPS_PORT = 443
_HTTP_PORT = 80
_POSTGRES_PORT = 5432
_REDIS_PORT = 6379
_REDIS_KEYS = ("BUILDLOGS_REDIS", "USER_EVENTS_REDIS")
# How libpq verifies the server's certificate.
_VERIFICATIONS = {"verify-full": "full", "verify-ca": "ca"}


def bundle_endpoints(bundle: Mapping[str, Any], files: Mapping[str, str]) -> list[Endpoint]:
    """Return the servers of a bundle in the form of the option `endpoints` of preflight_info.

    Entries in another form than the registry's are ignored, because the check of the bundle reports
    them.

    Args:
        bundle: The bundle.
        files: CA certificates in PEM form, by their path in the directory of the bundle.
    """
    found: list[Endpoint] = []
    for kind in (_databases, _redis, _stores):
        for endpoint in kind(bundle, files):
            if endpoint not in found:
                found.append(endpoint)
    return found


def _databases(bundle: Mapping[str, Any], files: Mapping[str, str]) -> Iterator[Endpoint]:
    uri = bundle.get("DB_URI")
    if not isinstance(uri, str) or "://" not in uri:
        return
    rest = uri.partition("://")[2]
    authority = re.split(r"[/?]", rest.rpartition("@")[2] if "@" in rest else rest)[0]
    options = {
        key: values[-1] for key, values in parse_qs(rest.rpartition("?")[2]).items() if "?" in rest
    }
    arguments = bundle.get("DB_CONNECTION_ARGS")
    options = {**options, **(arguments if isinstance(arguments, Mapping) else {})}
    mode = str(options.get("sslmode", "prefer"))
    for server in authority.split(","):
        host, port = _host_and_port(unquote(server), _POSTGRES_PORT)
        if host:
            yield {
                "subject": "database",
                "name": "DB_URI",
                "host": host,
                "port": port,
                "protocol": "tcp" if mode in ("disable", "allow", "prefer") else "postgres",
                "verify": _VERIFICATIONS.get(mode, "none"),
                "ca": _deployed(options.get("sslrootcert"), files),
            }


def _redis(bundle: Mapping[str, Any], files: Mapping[str, str]) -> Iterator[Endpoint]:
    for key in _REDIS_KEYS:
        settings = bundle.get(key)
        if isinstance(settings, Mapping) and settings.get("host"):
            yield {
                "subject": "redis",
                # Both keys usually name the same server, which is checked once.
                "name": "Redis",
                "host": str(settings["host"]),
                "port": _port(settings.get("port"), _REDIS_PORT),
                "protocol": "tls" if settings.get("ssl") else "tcp",
                "verify": "full",
                "ca": _deployed(settings.get("ssl_ca_certs"), files),
            }


def _stores(bundle: Mapping[str, Any], files: Mapping[str, str]) -> Iterator[Endpoint]:
    stores = bundle.get("DISTRIBUTED_STORAGE_CONFIG")
    for location, store in stores.items() if isinstance(stores, Mapping) else ():
        if not isinstance(store, (list, tuple)) or len(store) != len(("driver", "arguments")):
            continue
        driver, arguments = store
        url = _store_url(str(driver), arguments) if isinstance(arguments, Mapping) else ""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            continue
        if parts.hostname:
            secure = parts.scheme == "https"
            yield {
                "subject": "store",
                "name": str(location),
                "host": parts.hostname,
                "port": port or (_HTTPS_PORT if secure else _HTTP_PORT),
                "protocol": "tls" if secure else "tcp",
                "verify": "full",
                "ca": "\n".join(
                    text for name, text in files.items() if name.startswith("extra_ca_certs/")
                ),
            }


def _store_url(driver: str, arguments: Mapping[str, Any]) -> str:
    """Return the base URL of a store; "" for one without a server."""
    url = arguments.get("endpoint_url") or arguments.get("auth_url")
    if url:
        return str(url)
    if driver == "GoogleCloudStorage":
        return "https://storage.googleapis.com"
    if driver == "AzureStorage":
        return f"https://{arguments.get('azure_account_name', '')}.blob.core.windows.net"
    host = arguments.get("hostname") or arguments.get("host")
    if host:
        scheme = "https" if arguments.get("is_secure", True) else "http"
        base = str(host) if "://" in str(host) else f"{scheme}://{host}"
        return base + (f":{arguments['port']}" if arguments.get("port") else "")
    if driver in ("S3Storage", "STSS3Storage"):
        region = arguments.get("s3_region")
        return f"https://s3.{region}.amazonaws.com" if region else "https://s3.amazonaws.com"
    return ""


def _host_and_port(server: str, default: int) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[^\]]+\]|[^:]*)(?::(\d+))?", server)
    if not found:
        return "", default
    return found.group(1).strip("[]"), _port(found.group(2), default)


def _port(value: Any, default: int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return default


def _deployed(path: Any, files: Mapping[str, str]) -> str:
    """Return the CA certificates of a file in the directory of the bundle."""
    return files.get(str(path or "").removeprefix(BUNDLE_DIRECTORY), "")
