"""Paths in a running container: runtime files, the request spool and the bundle."""

from __future__ import annotations

import os
from pathlib import Path

from atoll.errors import UserError

HEALTH_URL_FILE = "health-url"
# While this file exists, health checks return 503, so that load balancers send no new requests;
# the instance still serves.
DRAINING_FILE = "draining"
_CA_BUNDLE = "ca-bundle.pem"


def runtime_directory() -> Path:
    """Return the directory for sockets, nginx's configuration and status files, on tmpfs."""
    return Path(os.environ.get("ATOLL_RUNTIME_DIRECTORY", "/tmp/atoll"))  # noqa: S108


def spool_directory() -> Path:
    """Return the directory for request bodies while they are received, on disk."""
    return Path(os.environ.get("ATOLL_SPOOL_DIRECTORY", "/var/spool/atoll"))


def bundle_directory() -> Path:
    """Return the directory of the bundle."""
    return Path(os.environ.get("ATOLL_BUNDLE_DIRECTORY", "/conf/stack"))


def ca_bundle_file() -> Path:
    """Return the file that `atoll.server.bundle.write_ca_bundle` writes."""
    return runtime_directory() / _CA_BUNDLE


def operations_socket(socket: Path) -> Path:
    """Return the socket for health and metrics of the web process that listens on SOCKET."""
    return socket.with_name(f"operations-{socket.name}")


def downloads_socket(socket: Path) -> Path:
    """Return the socket for downloads of the web process that listens on SOCKET."""
    return socket.with_name(f"downloads-{socket.name}")


def number(variable: str, default: int, maximum: int, *, minimum: int = 1) -> int:
    """Return the number in an environment variable, or DEFAULT if it is not set.

    Raises:
        UserError: it is not a number from MINIMUM to MAXIMUM.
    """
    text = os.environ.get(variable, str(default))
    if not text.isdecimal() or not minimum <= int(text) <= maximum:
        raise UserError(f"{variable} must be a number from {minimum} to {maximum}, not '{text}'")
    return int(text)


def prepare_runtime_directory() -> Path:
    """Create the runtime directory, accessible to this user only, and return it."""
    directory = runtime_directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    return directory


def write_atomically(path: Path, text: str) -> Path:
    """Replace a file atomically: readers find either its old or its new text."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    return new.replace(path)
