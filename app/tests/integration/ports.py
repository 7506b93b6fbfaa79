"""Ports of 127.0.0.1 for the containers of tests.

They are outside the range of ephemeral ports. If a run is killed, the firewall may continue to
redirect its published ports to containers that are gone. A server of a later test that gets such a
port from the kernel could never be reached.
"""

from __future__ import annotations

import fcntl
import itertools
import random
import select
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PORTS = range(20_000, 32_000)
_LOCK = Path(tempfile.gettempdir(), "atoll-tests-ports.lock")


@contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """Yield ports that no other test run chooses before the block ends.

    Args:
        count: The number of ports.
    """
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        candidates = random.sample(PORTS, len(PORTS))
        yield list(itertools.islice(filter(is_free, candidates), count))


def is_free(port: int) -> bool:
    """Return whether a server on a port can be reached: the port is not used, nor redirected."""
    with socket.socket() as server, socket.socket() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.settimeout(2)
        try:
            server.bind(("127.0.0.1", port))
            server.listen()
            client.connect(("127.0.0.1", port))
        except OSError:
            return False
        return bool(select.select([server], [], [], 0)[0])
