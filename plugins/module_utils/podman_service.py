"""A client of the host's podman.

The socket of root's podman is not enabled on hosts, because access to it is equivalent to root.
Each module starts a temporary API service in a directory that only root can read, and stops it. If
the module is killed, the service exits by itself when it is idle.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import IO, Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

PodmanClient: Any
try:
    from podman import PodmanClient
except ImportError:
    PodmanClient = None

START_SECONDS = 30
IDLE_SECONDS = 5
PAUSE_SECONDS = 0.02


class PodmanUnavailable(Exception):
    """podman cannot be used; the message names the missing part."""


@contextlib.contextmanager
def podman_client(module: AnsibleModule) -> Iterator[Any]:
    """Yield a client of this host's podman.

    Raises:
        PodmanUnavailable: podman or its Python library is missing, or the service does not start.
    """
    if PodmanClient is None:
        raise PodmanUnavailable(
            missing_required_lib("podman", reason="to run commands in the registry's container")
            + ". Debian's package is python3-podman, which playbooks/site.yml installs."
        )
    program = module.get_bin_path("podman")
    if not program:
        raise PodmanUnavailable("there is no podman on this host; playbooks/site.yml installs it")
    with tempfile.TemporaryDirectory(prefix="podman-", dir=module.tmpdir) as folder:
        address = f"unix://{os.path.join(folder, 'socket')}"
        with _service(program, address), PodmanClient(base_url=address) as client:
            yield client


@contextlib.contextmanager
def _service(program: str, address: str) -> Iterator[None]:
    words = [program, "system", "service", "--time", str(IDLE_SECONDS), address]
    with tempfile.TemporaryFile() as errors:
        service = subprocess.Popen(words, stderr=errors)  # noqa: S603 - no words of users
        try:
            _wait_for(service, words, address.removeprefix("unix://"), errors)
            yield
        finally:
            service.terminate()
            service.wait()


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def _wait_for(
    service: subprocess.Popen[bytes], words: list[str], path: str, errors: IO[bytes]
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _listens(path):
        if service.poll() is not None or time.monotonic() >= deadline:
            errors.seek(0)
            cause = errors.read().decode(errors="replace").strip() or "no error message"
            raise PodmanUnavailable(f"`{' '.join(words)}` does not start: {cause}")
        time.sleep(PAUSE_SECONDS)
