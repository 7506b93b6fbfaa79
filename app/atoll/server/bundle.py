"""This process's bundle, and the certificates in it that other servers are checked against."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from atoll import config
from atoll.cli.run import CommandFailed
from atoll.config import Bundle, ConfigError
from atoll.server.paths import (
    bundle_directory,
    prepare_runtime_directory,
    runtime_directory,
    write_whole,
)

_SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_EXTRA_CERTIFICATES = "extra_ca_certs"
_CA_BUNDLE = "ca-bundle.pem"


def load_bundle() -> Bundle:
    """Return the bundle of a process that serves or copies, or raise ConfigError."""
    return config.load(os.environ, bundle_directory())


def load_bundle_to_administer() -> Bundle:
    """Return the bundle of a command that somebody runs beside such a process.

    The file may be newer than the container and its environment, where a roll-out was cut off
    between the two; the command that goes on with it has to work. Raises ConfigError.
    """
    return config.load(os.environ, bundle_directory(), forgotten_locations=True)


def require_replication(bundle: Bundle) -> None:
    """Raise CommandFailed where nothing is copied: what waits for copies would wait for ever."""
    if not bundle.feature_storage_replication:
        raise CommandFailed(
            "FEATURE_STORAGE_REPLICATION is not true in the bundle: there is nothing to replicate"
        )


def ca_bundle_file() -> Path:
    """Return the file that `write_ca_bundle` writes."""
    return runtime_directory() / _CA_BUNDLE


def write_ca_bundle() -> Path:
    """Write the certificates that stores are checked against: the system's and the bundle's.

    The bundle's are `extra_ca_certs`, a directory or a single file, as in Quay. Raises ConfigError.
    """
    extra = bundle_directory() / _EXTRA_CERTIFICATES
    try:
        files = sorted(extra.iterdir()) if extra.is_dir() else [extra] if extra.is_file() else []
        texts = [_authorities(file) for file in files if file.is_file()]
    except OSError as error:
        raise ConfigError(str(extra), [f"cannot be read ({error.strerror})"]) from error
    if _SYSTEM_CERTIFICATES.is_file():
        texts.insert(0, _SYSTEM_CERTIFICATES.read_text())
    return write_whole(ca_bundle_file(), "\n".join(texts))


def load_bundle_for_stores() -> Bundle:
    """Return the bundle of a command that reaches stores, with certificates to check them by.

    In a container that serves, they were written at its start. Raises ConfigError.
    """
    bundle = load_bundle_to_administer()
    if not ca_bundle_file().exists():
        prepare_runtime_directory()
        write_ca_bundle()
    return bundle


def _authorities(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(str(file), ["is no certificate in PEM format"]) from error
    return text
