"""Where a running container keeps what lasts no longer than itself, and where it spools uploads."""

from __future__ import annotations

import os
from pathlib import Path

HEALTH_URL_FILE = "health-url"


def runtime_directory() -> Path:
    """Return the directory for sockets, nginx' configuration and the like; on tmpfs."""
    return Path(os.environ.get("ATOLL_RUNTIME_DIRECTORY", "/tmp/atoll"))  # noqa: S108


def spool_directory() -> Path:
    """Return the directory for request bodies that are being received; on disk."""
    return Path(os.environ.get("ATOLL_SPOOL_DIRECTORY", "/var/spool/atoll"))


def bundle_directory() -> Path:
    """Return the directory of the bundle."""
    return Path(os.environ.get("ATOLL_BUNDLE_DIRECTORY", "/conf/stack"))


def prepare_runtime_directory() -> Path:
    """Make the runtime directory, for us alone."""
    directory = runtime_directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    return directory
