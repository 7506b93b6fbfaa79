"""The client of the host's podman.

The socket of root's podman is not enabled on hosts, because access to it is equivalent to root.
A module that first uses podman starts a temporary API service in a directory that only root can
read. All uses of podman by the module share it, and it is stopped when the module exits. If the
module is killed, the service exits by itself when it is idle.
"""

from __future__ import annotations

import atexit
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
STOP_SECONDS = 10
# Longer than the pauses of a module that waits.
IDLE_SECONDS = 30
PAUSE_SECONDS = 0.02


class PodmanUnavailable(Exception):
    """podman cannot be used; the message names the missing part."""


class _Shared:
    """The client that all uses of podman by a module share."""

    def __init__(self) -> None:
        self.client: Any = None
        self._resources = contextlib.ExitStack()

    def open(self, module: AnsibleModule) -> Any:
        if self.client is None:
            self.client = self._resources.enter_context(_connection(module))
            atexit.register(self.close)
        return self.client

    def close(self) -> None:
        self.client = None
        self._resources.close()
        atexit.unregister(self.close)


_shared = _Shared()


def podman_client(module: AnsibleModule) -> Any:
    """Return the client of this host's podman; connect at the first call.

    Raises:
        PodmanUnavailable: podman or its Python library is missing, or the service does not start.
    """
    return _shared.open(module)


def close_podman() -> None:
    """Stop the API service, if it was started. Happens by itself when the module exits."""
    _shared.close()


@contextlib.contextmanager
def _connection(module: AnsibleModule) -> Iterator[Any]:
    program = module.get_bin_path("podman")
    if not program:
        raise PodmanUnavailable("there is no podman on this host; playbooks/site.yml installs it")
    if PodmanClient is None:
        raise PodmanUnavailable(
            missing_required_lib("podman", reason="to use the podman of this host")
            + ". The package python3-podman of the distribution contains it; playbooks/site.yml "
            "installs that package."
        )
    with tempfile.TemporaryDirectory(prefix="podman-", dir=module.tmpdir) as folder:
        address = f"unix://{os.path.join(folder, 'socket')}"
        with _service(program, address), PodmanClient(base_url=address) as client:
            yield client


@contextlib.contextmanager
def _service(program: str, address: str) -> Iterator[None]:
    words = [program, "system", "service", "--time", str(IDLE_SECONDS), address]
    with tempfile.TemporaryFile() as errors:
        # A service that outlives the module must not keep the connection of Ansible open.
        service = subprocess.Popen(  # noqa: S603 - no words of users
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        )
        try:
            _wait_for(service, words, address.removeprefix("unix://"), errors)
            yield
        finally:
            _stop(service)


def _stop(service: subprocess.Popen[bytes]) -> None:
    service.terminate()
    try:
        service.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        service.kill()
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
