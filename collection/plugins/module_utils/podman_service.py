"""A host's podman, asked by podman-py.

No socket of root's podman listens on a host for our sake, since what reaches it does what root
does. Each module that asks starts a service of its own, in a directory that only root reads, and
ends it; one that lost its module ends by itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time

from ansible.module_utils.basic import missing_required_lib

try:
    from podman import PodmanClient
except ImportError:
    PodmanClient = None

START_SECONDS = 30
IDLE_SECONDS = 5
PAUSE_SECONDS = 0.02


class PodmanAway(Exception):
    """There is no podman to ask; the message says what is missing."""


@contextlib.contextmanager
def podman_client(module):
    """Yield a client of this host's podman. Raises PodmanAway."""
    if PodmanClient is None:
        raise PodmanAway(
            missing_required_lib("podman", reason="to run commands in the registry's container")
            + " Debian 13 has it as python3-podman, which playbooks/site.yml installs."
        )
    program = module.get_bin_path("podman")
    if not program:
        raise PodmanAway("there is no podman on this host; playbooks/site.yml installs it")
    with tempfile.TemporaryDirectory(prefix="podman-", dir=module.tmpdir) as folder:
        address = f"unix://{os.path.join(folder, 'socket')}"
        with _service(program, address), PodmanClient(base_url=address) as client:
            yield client


@contextlib.contextmanager
def _service(program, address):
    words = [program, "system", "service", "--time", str(IDLE_SECONDS), address]
    with tempfile.TemporaryFile() as said:
        service = subprocess.Popen(words, stderr=said)  # noqa: S603 - nobody else's words
        try:
            _wait_for(service, address.removeprefix("unix://"), said)
            yield
        finally:
            service.terminate()
            service.wait()


def _listens(path):
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def _wait_for(service, path, said):
    deadline = time.monotonic() + START_SECONDS
    while not _listens(path):
        if service.poll() is not None or time.monotonic() >= deadline:
            said.seek(0)
            error = said.read().decode(errors="replace").strip() or "it said nothing"
            raise PodmanAway(f"`{' '.join(service.args)}` does not start: {error}")
        time.sleep(PAUSE_SECONDS)
