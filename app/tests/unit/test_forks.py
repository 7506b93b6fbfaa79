"""Forks run commands with the modules of their parent, and nothing else of it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from atoll.server.forks import Fork
from atoll.server.supervisor import Child

from ..integration.services import wait_until


def fail_with_7() -> int:
    return 7


def sleep() -> int:
    time.sleep(60)
    return 0


def leave_traces(file: Path) -> int:
    """Write the session and a variable to a file."""
    file.write_text(f"{os.getsid(0) == os.getpid()} {os.environ['ATOLL_TEST']}")
    return 0


def test_the_exit_code_of_the_command_is_that_of_the_fork() -> None:
    fork = Fork(fail_with_7, ["fail"], {})
    assert fork.wait(60) == 7
    assert fork.poll() == fork.returncode == 7


def test_a_fork_has_its_own_session_and_variables(tmp_path: Path) -> None:
    run = partial(leave_traces, tmp_path / "traces")
    assert Fork(run, ["trace"], {"ATOLL_TEST": "set"}).wait(60) == 0
    assert (tmp_path / "traces").read_text() == "True set"
    assert "ATOLL_TEST" not in os.environ


def test_forks_draw_different_random_numbers(tmp_path: Path) -> None:
    def draw(number: int) -> int:
        (tmp_path / str(number)).write_text(f"{random.random()} {uuid4()}")
        return 0

    for number in range(3):
        assert Fork(partial(draw, number), ["draw"], {}).wait() == 0
    drawn = [file.read_text().split() for file in tmp_path.iterdir()]
    assert all(len(set(kind)) == 3 for kind in zip(*drawn, strict=True))


def test_a_fork_is_listed_with_its_command() -> None:
    fork = Fork(sleep, ["web", "web-1-0.sock"], {})
    try:
        listed = Path(f"/proc/{fork.pid}/cmdline")
        wait_until(
            "the command is listed",
            lambda: listed.read_bytes().rstrip(b"\0") == b"atoll\0web\0web-1-0.sock",
        )
    finally:
        fork.kill()
        fork.wait(60)


def test_a_running_fork_has_no_exit_code_and_can_be_killed() -> None:
    fork = Fork(sleep, ["sleep"], {})
    with pytest.raises(subprocess.TimeoutExpired):
        fork.wait(0.01)
    assert fork.poll() is None
    fork.kill()
    assert fork.wait(60) == -signal.SIGKILL
    fork.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_signal_handlers_of_the_parent_do_not_act_in_a_fork(number: signal.Signals) -> None:
    before = signal.signal(number, lambda *_signal: None)
    try:
        fork = Fork(sleep, ["sleep"], {})
        fork.send_signal(number)
        assert fork.wait(60) == -number
    finally:
        signal.signal(number, before)


def test_the_supervisor_stops_a_fork_like_a_program() -> None:
    child = Child("fork", ["sleep"], signal.SIGTERM, run=sleep)
    child.start()
    assert child.running
    child.stop(60)
    assert not child.running


# Starts a fork that ignores signals, prints its number and fails.
FAILING = """
import signal
from atoll.server.forks import Fork
def sleep():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pause()
fork = Fork(sleep, ["sleep"], {})
print(fork.pid, flush=True)
raise RuntimeError("the supervisor failed")
"""


def test_a_process_that_fails_does_not_wait_for_its_forks() -> None:
    failed = subprocess.run(
        [sys.executable, "-c", FAILING], capture_output=True, text=True, timeout=60, check=False
    )
    assert failed.returncode == 1
    assert "the supervisor failed" in failed.stderr
    assert not Path(f"/proc/{int(failed.stdout)}").exists()


# Prints the threads and the sockets of the process after it has loaded what forks share.
LOADED = """
import os, sys
from pathlib import Path
from atoll.server import registry_process
registry_process._import_modules(Path(sys.argv[1]))
from atoll.storage.s3.driver import S3ObjectStore
S3ObjectStore.preload()
files = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if
         os.path.exists(f"/proc/self/fd/{name}")]
print(len(os.listdir("/proc/self/task")), sum("socket:" in file for file in files))
"""


def test_modules_that_forks_share_start_no_thread_and_open_no_connection(tmp_path: Path) -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == ["1", "0"]
    # A file of the parent would report zeros.
    assert list((tmp_path / "metrics").iterdir()) == []


# Increments a metric in a fork and prints what all processes report.
COUNTED = """
import sys
from pathlib import Path
from atoll.server import registry_process
registry_process._import_modules(Path(sys.argv[1]))
from atoll.server.forks import Fork
from atoll.storage.observed_store import REQUESTS
def count():
    REQUESTS.labels("us", "served").inc()
    return 0
for _ in range(2):
    assert Fork(count, ["count"], {}).wait() == 0
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
registry = CollectorRegistry()
MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def test_metrics_of_forks_are_added_up(tmp_path: Path) -> None:
    counted = subprocess.run(
        [sys.executable, "-c", COUNTED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    line = 'atoll_store_requests_total{location="us",outcome="served"} 2.0'
    assert line in counted.stdout.splitlines()
