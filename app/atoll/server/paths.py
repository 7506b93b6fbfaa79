"""Where a running container keeps what lasts no longer than itself, and where it spools uploads."""

from __future__ import annotations

import os
from pathlib import Path

from atoll.cli.run import CommandFailed

HEALTH_URL_FILE = "health-url"
# While it is there, health is 503: the instance serves on, and is to be sent nothing new.
LEAVING_FILE = "leaving"


def runtime_directory() -> Path:
    """Return the directory for sockets, nginx' configuration and the like; on tmpfs."""
    return Path(os.environ.get("ATOLL_RUNTIME_DIRECTORY", "/tmp/atoll"))  # noqa: S108


def spool_directory() -> Path:
    """Return the directory for request bodies that are being received; on disk."""
    return Path(os.environ.get("ATOLL_SPOOL_DIRECTORY", "/var/spool/atoll"))


def bundle_directory() -> Path:
    """Return the directory of the bundle."""
    return Path(os.environ.get("ATOLL_BUNDLE_DIRECTORY", "/conf/stack"))


def operations_socket(socket: Path) -> Path:
    """Return the socket for the operations of the process whose other socket is SOCKET."""
    return socket.with_name(f"operations-{socket.name}")


def downloads_socket(socket: Path) -> Path:
    """Return the socket for downloads of the process whose other socket is SOCKET."""
    return socket.with_name(f"downloads-{socket.name}")


def number(variable: str, default: int, maximum: int, *, minimum: int = 1) -> int:
    """Return the number that an environment variable holds, or DEFAULT. Raises CommandFailed."""
    text = os.environ.get(variable, str(default))
    if not text.isdecimal() or not minimum <= int(text) <= maximum:
        raise CommandFailed(
            f"{variable} must be a number from {minimum} to {maximum}, not '{text}'"
        )
    return int(text)


def prepare_runtime_directory() -> Path:
    """Make the runtime directory, for us alone."""
    directory = runtime_directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    return directory


def write_whole(path: Path, text: str) -> Path:
    """Write a file that whoever reads it meanwhile finds whole, as it was or as it is now."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    return new.replace(path)
