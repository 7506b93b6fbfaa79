"""The registry that Debian packages (Docker Distribution 2), with TLS and Basic authentication."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..integration.services import wait_until
from .certificates import PrivateCa

USERNAME, PASSWORD = "mirror", "sesame"
# The registry accepts bcrypt only.
_HASH = "$2b$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O"


@contextmanager
def docker_registry(ca: PrivateCa, directory: Path) -> Iterator[str]:
    """Run a registry in a directory, and yield its host and port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (directory / "htpasswd").write_text(f"{USERNAME}:{_HASH}\n")
    configuration = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "blobs")}},
        "auth": {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}},
        "http": {
            "addr": address,
            "secret": "x",
            "tls": {"certificate": str(ca.issued), "key": str(ca.key)},
        },
    }
    # JSON is YAML.
    (directory / "config.yml").write_text(json.dumps(configuration))
    log = (directory / "log").open("w")
    process = subprocess.Popen(
        ["docker-registry", "serve", str(directory / "config.yml")], stdout=log, stderr=log
    )
    try:
        wait_until("the registry answers", lambda: _accepts_connections(address, process))
        yield address
    finally:
        process.kill()
        process.wait()
        log.close()


def _accepts_connections(address: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "the registry ended"
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
