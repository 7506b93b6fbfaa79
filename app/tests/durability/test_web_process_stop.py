"""A web process that is stopped has written a line of its access log for each response."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from ..integration.services import wait_until
from .sites import bundle

APP = Path(__file__).resolve().parents[2]
REQUESTS = 300


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("registry.test")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


@contextmanager
def web_process(database: str, directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Start a web process, and yield it with its socket."""
    (directory / "stack").mkdir()
    (directory / "stack/config.yaml").write_text(yaml.safe_dump(bundle(database, ["us"])))
    # The path of a socket may have at most 107 characters.
    with tempfile.TemporaryDirectory() as runtime:
        address = Path(runtime) / "web.sock"
        environment = {
            **os.environ,
            "ATOLL_BUNDLE_DIRECTORY": str(directory / "stack"),
            "ATOLL_RUNTIME_DIRECTORY": runtime,
            "ATOLL_SPOOL_DIRECTORY": str(directory),
            "PYTHONPATH": str(APP),
        }
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "atoll.cli.main", "web", str(address)],
                env=environment,
                stderr=log,
            )
        try:
            wait_until("the process serves", address.exists)
            yield process, address
        finally:
            process.kill()
            process.wait()


def test_no_line_of_the_access_log_is_lost(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    with web_process(make_database(), tmp_path) as (process, address):
        connection = UnixConnection(address)
        for number in range(REQUESTS):
            connection.request("GET", "/v2/", headers={"X-Request-Id": f"request-{number}"})
            response = connection.getresponse()
            response.read()
            assert response.status == 401
        process.send_signal(signal.SIGTERM)
        connection.close()
        assert process.wait() == 0
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    logged = [line["request"] for line in lines if line["logger"] == "atoll.access"]
    assert logged == [f"request-{number}" for number in range(REQUESTS)]
