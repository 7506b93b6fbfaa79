"""`atoll reload`: let this container's process read its bundle again, and wait until it has.

The process is asked by SIGHUP, as anybody may ask it; files tell who asked what became of it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from atoll.errors import UserError
from atoll.server.paths import runtime_directory, write_atomically

log = logging.getLogger(__name__)

_PROCESS, _REQUEST, _ANSWER, _TURN = (
    f"reload-{word}" for word in ("process", "request", "answer", "turn")
)
_POLL = 0.1
# What waits, while a process is replaced, for the one that it becomes.
_HELD = {signal.SIGHUP, signal.SIGTERM, signal.SIGINT}


def request_reload() -> None:
    """Request a reload from this container's process, and wait until it is done.

    Raises:
        UserError: the process refused the bundle, or there is no such process.
    """
    runtime = runtime_directory()
    try:
        process = int((runtime / _PROCESS).read_text())
    except OSError as error:
        raise UserError("nothing in this container reads a bundle again") from error
    with (runtime / _TURN).open("w") as turn:
        # One at a time: there is one answer.
        fcntl.flock(turn, fcntl.LOCK_EX)
        request = str(uuid4())
        write_atomically(runtime / _REQUEST, request)
        os.kill(process, signal.SIGHUP)
        problem = _wait_for_answer(runtime / _ANSWER, request, process)
    if problem:
        raise UserError(f"the bundle is not taken over, everything is as it was: {problem}")


def replace_process(command: Sequence[str], unless: threading.Event) -> None:
    """Become COMMAND, which gets every signal that comes meanwhile; do nothing if UNLESS is set."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    if not unless.is_set():
        os.execv(command[0], list(command))  # noqa: S606 - no shell, on purpose


def _wait_for_answer(file: Path, request: str, process: int) -> str:
    while True:
        if file.exists():
            answer = json.loads(file.read_text())
            if answer["request"] == request:
                return str(answer["problem"])
        try:
            os.kill(process, 0)
        except ProcessLookupError as error:
            raise UserError("the process ended meanwhile; its log says why") from error
        time.sleep(_POLL)


class Reloads:
    """What asks this process to read its bundle again, and what it answers."""

    def __init__(self, runtime: Path) -> None:
        self._runtime = runtime
        self._pending = False
        self._request = ""

    def listen(self) -> None:
        """Take SIGHUP from now on, and whatever came while this process was replaced."""
        signal.signal(signal.SIGHUP, self._note_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
        write_atomically(self._runtime / _PROCESS, str(os.getpid()))

    @property
    def pending(self) -> bool:
        """Tell whether somebody asked since the last reload began."""
        return self._pending

    def begin(self) -> None:
        """Note that the bundle is read now, for whoever has asked so far."""
        self._pending = False
        request = self._runtime / _REQUEST
        self._request = request.read_text() if request.exists() else ""

    def taken_over(self) -> None:
        """Tell who asked that the bundle is what this process works with now."""
        self._answer("")

    def refused(self, problem: str) -> None:
        """Tell the log and who asked why everything is as it was."""
        log.error("bundle not taken over; everything is as it was", extra={"cause": problem})
        self._answer(problem)

    def _answer(self, problem: str) -> None:
        text = json.dumps({"request": self._request, "problem": problem})
        write_atomically(self._runtime / _ANSWER, text)

    def _note_signal(self, *_signal: object) -> None:
        self._pending = True
