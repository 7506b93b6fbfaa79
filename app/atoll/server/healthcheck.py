"""The health check that podman runs in the container every few seconds.

Most of its cost is the start of Python, so it imports little.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from atoll.errors import UserError
from atoll.server.paths import HEALTH_URL_FILE, runtime_directory

_TIMEOUT = 3
# The services whose failure a restart can fix; a process reports one of them at most. While another
# service is down, the process that reports this is alive.
_OWN = ("replication", "mirroring")


def healthcheck(*, alive: bool) -> None:
    """Request the health of this container's process, at the URL that the process wrote.

    Args:
        alive: accept a process that is only unhealthy because of another service.

    Raises:
        UserError: the process is unhealthy or does not answer.
    """
    try:
        url = (runtime_directory() / HEALTH_URL_FILE).read_text()
    except OSError as error:
        raise UserError("nothing is being served in this container yet") from error
    try:
        urllib.request.urlopen(url, timeout=_TIMEOUT).close()  # noqa: S310 - our own file's URL
    except urllib.error.HTTPError as error:
        if not alive or not _is_alive(error.read()):
            raise UserError(f"unhealthy: {error}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise UserError(f"unhealthy: {error}") from error


def _is_alive(body: bytes) -> bool:
    try:
        services = json.loads(body)["data"]["services"]
        return all(services.get(name, True) for name in _OWN)
    except (ValueError, LookupError):
        return False
