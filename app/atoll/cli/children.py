"""Run some processes as one: when one dies, all end, and systemd starts them again together."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from atoll.cli import statuses

log = logging.getLogger(__name__)

# Seconds for the children to be there, and for one that has nothing in hand any more to end.
_START = 60
_END = 10
_POLL = 0.05


@dataclass
class Child:
    """A process: its name in the log, its command, and the signal that ends it gently."""

    name: str
    command: list[str]
    stop_signal: signal.Signals
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def running(self) -> bool:
        """Tell whether the process is there."""
        return self.process is not None and self.process.poll() is None


class Children:
    """The processes, in the order in which they were started.

    DRAIN is the number of seconds that the last one gets to finish what all have in hand. Before
    that all serve on for NOTICE seconds, in which the file LEAVING is there.
    """

    def __init__(self, drain: float, notice: float, leaving: Path) -> None:
        self._drain = drain
        self._notice = notice
        self._leaving = leaving
        self._children: list[Child] = []
        self._stopping = False

    def stop_on_signals(self) -> None:
        """Stop gently at SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_signal)

    def start(self, child: Child) -> None:
        """Start a process, in a session of its own: a terminal's signals reach only us."""
        child.process = subprocess.Popen(child.command, start_new_session=True)  # noqa: S603
        self._children.append(child)

    def run_first(self, child: Child) -> int:
        """Run a process to its end, which a signal to us brings about; return its exit status."""
        process = subprocess.Popen(child.command, start_new_session=True)  # noqa: S603
        while process.poll() is None:
            if self._stopping:
                process.send_signal(child.stop_signal)
            time.sleep(_POLL)
        if self._stopping:
            return 0
        return process.returncode if process.returncode >= 0 else statuses.FAILED

    @property
    def stopping(self) -> bool:
        """Tell whether a signal to stop has come."""
        return self._stopping

    def wait_for_files(self, paths: list[Path]) -> None:
        """Wait until every file of PATHS is there, or a child has died, or too long."""
        deadline = time.monotonic() + _START
        while not all(path.exists() for path in paths):
            if self._stopping or self._dead() or time.monotonic() > deadline:
                return
            time.sleep(_POLL)

    def supervise(self) -> int:
        """Wait for a signal or a death, stop all, and return the exit status."""
        while not self._stopping and not self._dead():
            time.sleep(_POLL)
        dead = self._dead()
        if dead is not None and not self._stopping:
            log.error("a process died; all end", extra={"process": dead.name})
        elif self._stopping:
            self._give_notice()
            log.info("draining", extra={"seconds": self._drain})
        self._stop_all()
        return 0 if self._stopping else statuses.FAILED

    def _dead(self) -> Child | None:
        self._reap_strangers()
        return next((child for child in self._children if not child.running), None)

    def _give_notice(self) -> None:
        """Serve on while load balancers learn that they are to send nothing new."""
        self._leaving.touch()
        until = time.monotonic() + self._notice
        while time.monotonic() < until and self._dead() is None:
            time.sleep(_POLL)

    def _stop_all(self) -> None:
        """Stop them, the last one first: when it has finished, the others have nothing in hand."""
        patience = self._drain
        for child in reversed(self._children):
            if child.process is None or not child.running:
                continue
            child.process.send_signal(child.stop_signal)
            try:
                child.process.wait(patience)
            except subprocess.TimeoutExpired:
                log.warning("a process does not end; killed", extra={"process": child.name})
                child.process.kill()
                child.process.wait()
            patience = _END

    def _note_signal(self, *_signal: object) -> None:
        self._stopping = True

    def _reap_strangers(self) -> None:
        """As process 1, take leave of orphans that became our children."""
        if os.getpid() != 1:
            return
        ours = {child.process.pid for child in self._children if child.process is not None}
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is not None and found.si_pid not in ours:
            os.waitpid(found.si_pid, 0)
