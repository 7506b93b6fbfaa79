"""A process that scans: the maintenance of a site without replication."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .mirror_worker import LOCATION, MirrorWorkerSite, worker_site
from .scanning_stack import KEY


def scanner_site(uri: str, directory: Path, clair: str) -> MirrorWorkerSite:
    """Return a site whose images are scanned.

    Args:
        uri: A migrated database.
        directory: A directory for its files, which does not exist.
        clair: The URL of its Clair, which has the key of the tests.
    """
    changes = {
        "FEATURE_REPO_MIRROR": False,
        "FEATURE_SECURITY_SCANNER": True,
        "SCANNER_ENDPOINTS": {LOCATION: clair},
        "SECURITY_SCANNER_V4_PSK": base64.b64encode(KEY).decode(),
        "SECURITY_SCANNER_INDEXING_INTERVAL": 1,
    }
    return worker_site(uri, directory, changes=changes)


@contextmanager
def running_scanner(site: MirrorWorkerSite) -> Iterator[subprocess.Popen[bytes]]:
    """Run the process, and kill it at the end."""
    with (site.directory / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "atoll.cli.main", "housekeeping"],
            env=site.environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
