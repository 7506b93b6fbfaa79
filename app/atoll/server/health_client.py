"""Request the health of one web process of this container, through its unix socket."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

ENDPOINTS = ("/health/instance", "/health/endtoend")
_TIMEOUT = 3
_HEALTHY = 200


def healthy_endpoints(operations: Path) -> set[str]:
    """Return the health endpoints that report the process behind OPERATIONS as healthy."""
    return {endpoint for endpoint in ENDPOINTS if _status(operations, endpoint) == _HEALTHY}


def _status(operations: Path, path: str) -> int:
    connection = _LocalConnection(operations)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


class _LocalConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(str(self._path))
