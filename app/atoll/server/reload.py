"""Reload the bundle of this container's process.

SIGHUP requests a reload. `atoll reload` also leaves the request in a file, and the process writes
the outcome to another one.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

from atoll.errors import UserError
from atoll.server.paths import runtime_directory, write_atomically
from atoll.server.stop_signal import StopSignal

log = logging.getLogger(__name__)

_PROCESS, _REQUEST, _ANSWER, _TURN = (
    f"reload-{word}" for word in ("process", "request", "answer", "turn")
)
_NO_PROCESS = "no process in this container can reload its bundle"
# Seconds between two looks for an answer, and for a request.
_POLL, _PENDING_POLL = 0.1, 0.2
# Signals that are blocked while a process replaces itself, so that the new one receives them.
_HELD = {signal.SIGHUP, signal.SIGTERM, signal.SIGINT}


def request_reload() -> None:
    """Request a reload from this container's process, and wait until it is done.

    Raises:
        UserError: the process refused the bundle, or there is no such process.
    """
    runtime = runtime_directory()
    try:
        process = int((runtime / _PROCESS).read_text())
    except (OSError, ValueError) as error:
        raise UserError(_NO_PROCESS) from error
    with (runtime / _TURN).open("w") as turn:
        # One request at a time, because there is one file for the answer.
        fcntl.flock(turn, fcntl.LOCK_EX)
        request = str(uuid4())
        write_atomically(runtime / _REQUEST, request)
        try:
            os.kill(process, signal.SIGHUP)
        except ProcessLookupError as error:
            raise UserError(_NO_PROCESS) from error
        problem = _wait_for_answer(runtime / _ANSWER, request, process)
    if problem:
        raise UserError(f"the bundle was refused and the old one stays active: {problem}")


def replace_process(command: Sequence[str], unless: StopSignal) -> None:
    """Replace this process by COMMAND, without losing signals.

    Args:
        command: the program and its arguments.
        unless: do nothing if this is set.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    if not unless.is_set():
        os.execv(command[0], list(command))  # noqa: S606 - without a shell


def _wait_for_answer(file: Path, request: str, process: int) -> str:
    while True:
        if file.exists():
            answer = json.loads(file.read_text())
            if answer["request"] == request:
                return str(answer["problem"])
        try:
            os.kill(process, 0)
        except ProcessLookupError as error:
            raise UserError("the process ended during the reload; see its log") from error
        time.sleep(_POLL)


class Reloads:
    """The requests to reload the bundle of this process, and their answers."""

    def __init__(self, runtime: Path) -> None:
        self._runtime = runtime
        self._pending = False
        self._request = ""

    def listen(self) -> None:
        """Handle SIGHUP, including one that arrived while this process was replaced."""
        signal.signal(signal.SIGHUP, self._note_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
        write_atomically(self._runtime / _PROCESS, str(os.getpid()))

    @property
    def pending(self) -> bool:
        """Whether there is a request since the last reload began."""
        return self._pending

    def begin(self) -> None:
        """Begin to answer the requests that were made so far."""
        self._pending = False
        request = self._runtime / _REQUEST
        self._request = request.read_text() if request.exists() else ""

    def wait(self, stop: StopSignal, read: Callable[[], object]) -> bool:
        """Wait until the process is to stop or to load a new bundle; refuse invalid bundles.

        Args:
            stop: set when the process is to stop.
            read: reads the bundle; raises UserError if it is invalid.

        Returns:
            Whether a valid bundle is to be loaded.
        """
        while not stop.wait(_PENDING_POLL):
            if not self.pending:
                continue
            self.begin()
            try:
                read()
            except UserError as error:
                self.refused(str(error))
            else:
                return True
        return False

    def succeeded(self) -> None:
        """Answer that the new bundle is active."""
        self._answer("")

    def refused(self, problem: str) -> None:
        """Answer why the old bundle stays active, and log it."""
        log.error("bundle refused", extra={"cause": problem})
        self._answer(problem)

    def _answer(self, problem: str) -> None:
        text = json.dumps({"request": self._request, "problem": problem})
        write_atomically(self._runtime / _ANSWER, text)

    def _note_signal(self, *_signal: object) -> None:
        self._pending = True
