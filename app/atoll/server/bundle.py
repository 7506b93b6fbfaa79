"""The bundle of this container and its CA certificates."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from atoll import config
from atoll.config import Bundle, ConfigError
from atoll.errors import UserError
from atoll.server.paths import (
    bundle_directory,
    ca_bundle_file,
    prepare_runtime_directory,
    write_atomically,
)

_SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_EXTRA_CERTIFICATES = "extra_ca_certs"


def load_bundle() -> Bundle:
    """Return the bundle of a server process.

    Raises:
        ConfigError: the bundle is invalid.
    """
    return config.load(os.environ, bundle_directory())


def load_bundle_for_command() -> Bundle:
    """Return the bundle of a command that an operator runs in a container.

    If a roll-out was interrupted, the file may be newer than the container and its environment.
    Commands must work then too, because they are needed to resume it.

    Raises:
        ConfigError: the bundle is invalid.
    """
    return config.load(os.environ, bundle_directory(), for_command=True)


def require_replication(bundle: Bundle) -> None:
    """Refuse a command that would wait indefinitely for copies.

    Raises:
        UserError: the bundle does not enable replication.
    """
    if not bundle.feature_storage_replication:
        raise UserError(
            "FEATURE_STORAGE_REPLICATION is not true in the bundle: there is nothing to replicate"
        )


def require_mirroring(bundle: Bundle) -> None:
    """Refuse to run a mirror worker that would have nothing to do.

    Raises:
        UserError: the bundle does not enable mirroring.
    """
    if not (bundle.feature_repo_mirror or bundle.feature_org_mirror):
        raise UserError(
            "neither FEATURE_REPO_MIRROR nor FEATURE_ORG_MIRROR is true in the bundle: there is"
            " nothing to mirror"
        )


def write_ca_bundle() -> Path:
    """Write the CA certificates of the system and of the bundle to one file, and return it.

    The bundle's are in `extra_ca_certs`, a directory or a single file, as in Quay.

    Raises:
        ConfigError: a file cannot be read or is not a certificate.
    """
    extra = bundle_directory() / _EXTRA_CERTIFICATES
    try:
        files = sorted(extra.iterdir()) if extra.is_dir() else [extra] if extra.is_file() else []
        texts = [_read_certificates(file) for file in files if file.is_file()]
    except OSError as error:
        raise ConfigError(str(extra), [f"cannot be read ({error.strerror})"]) from error
    if _SYSTEM_CERTIFICATES.is_file():
        texts.insert(0, _SYSTEM_CERTIFICATES.read_text())
    return write_atomically(ca_bundle_file(), "\n".join(texts))


def load_bundle_for_stores() -> Bundle:
    """Return the bundle of a command that connects to stores.

    Writes the CA certificates unless a server process of this container already did.

    Raises:
        ConfigError: the bundle is invalid.
    """
    bundle = load_bundle_for_command()
    if not ca_bundle_file().exists():
        prepare_runtime_directory()
        write_ca_bundle()
    return bundle


def _read_certificates(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(str(file), ["is no certificate in PEM format"]) from error
    return text
