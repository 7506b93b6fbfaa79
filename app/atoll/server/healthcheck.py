"""`atoll healthcheck`: what podman runs in the container, every few seconds.

Imports little, because Python's start is most of its cost.
"""

from __future__ import annotations

import argparse
import json
import urllib.error
import urllib.request

from atoll.errors import UserError
from atoll.server.paths import HEALTH_URL_FILE, runtime_directory

_TIMEOUT = 3
# What only a new start can mend. A process that lacks something else, and says so, is alive.
_OWN = "replication"


def healthcheck(options: argparse.Namespace) -> int:
    """Ask this container's process, by the address that it left, whether it is well."""
    try:
        url = (runtime_directory() / HEALTH_URL_FILE).read_text()
    except OSError as error:
        raise UserError("nothing is being served in this container yet") from error
    try:
        urllib.request.urlopen(url, timeout=_TIMEOUT).close()  # noqa: S310 - our own file's URL
    except urllib.error.HTTPError as error:
        if not options.alive or not _alive(error.read()):
            raise UserError(f"unhealthy: {error}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise UserError(f"unhealthy: {error}") from error
    return 0


def _alive(body: bytes) -> bool:
    try:
        return bool(json.loads(body)["data"]["services"].get(_OWN, True))
    except (ValueError, LookupError):
        return False
