"""A process waits for requests to reload, and answers those for invalid bundles."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from atoll.errors import UserError
from atoll.server.reload import Reloads, request_reload
from atoll.server.stop_signal import StopSignal


@pytest.fixture
def reloads(tmp_path: Path) -> Iterator[Reloads]:
    """Requests in the directory of the test, while SIGHUP is handled."""
    before = signal.getsignal(signal.SIGHUP)
    found = Reloads(tmp_path)
    found.listen()
    yield found
    signal.signal(signal.SIGHUP, before)


def test_an_invalid_bundle_is_refused_and_the_next_one_is_loaded(
    reloads: Reloads, tmp_path: Path
) -> None:
    answers: list[str] = []

    def read() -> None:
        if answers:
            answers.append(json.loads((tmp_path / "reload-answer").read_text())["problem"])
            return
        answers.append("")
        os.kill(os.getpid(), signal.SIGHUP)
        raise UserError("SERVER_HOSTNAME is missing")

    os.kill(os.getpid(), signal.SIGHUP)
    assert reloads.wait(StopSignal(), read) is True
    assert answers == ["", "SERVER_HOSTNAME is missing"]
    assert reloads.pending is False


def test_a_process_that_is_to_stop_loads_nothing(reloads: Reloads) -> None:
    stop = StopSignal()
    stop.set()
    os.kill(os.getpid(), signal.SIGHUP)

    def read() -> None:
        pytest.fail("the bundle was read")

    assert reloads.wait(stop, read) is False


@pytest.mark.parametrize("process", [None, "", "of-an-earlier-container"])
def test_a_reload_is_refused_without_a_process(
    process: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATOLL_RUNTIME_DIRECTORY", str(tmp_path))
    if process == "of-an-earlier-container":
        with subprocess.Popen(["true"]) as ended:
            process = str(ended.pid)
    if process is not None:
        (tmp_path / "reload-process").write_text(process)
    with pytest.raises(UserError, match="no process in this container can reload"):
        request_reload()
