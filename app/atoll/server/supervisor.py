"""Run some processes as one: when one dies, all end, and systemd starts them again together."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atoll import exit_codes

log = logging.getLogger(__name__)

# Begins every command of this image, whatever PATH says.
ATOLL = (sys.executable, "-m", "atoll.cli.main")
# Seconds for one that has nothing in hand any more to end.
END = 10
_POLL = 0.05


@dataclass
class Child:
    """A process: its name in the log, its command, the signal that ends it gently.

    ENVIRONMENT is what it has beside our own.
    """

    name: str
    command: Sequence[str]
    stop_signal: signal.Signals
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _asked: bool = field(default=False, init=False)

    def start(self) -> None:
        """Start it, in a session of its own: a terminal's signals reach only us."""
        self.process = subprocess.Popen(  # noqa: S603
            self.command, env=os.environ | self.environment, start_new_session=True
        )

    @property
    def running(self) -> bool:
        """Tell whether the process is there."""
        return self.process is not None and self.process.poll() is None

    @property
    def number(self) -> int:
        """The process's number; 0 before its start."""
        return self.process.pid if self.process is not None else 0

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it is there."""
        if self.process is not None and self.running:
            self.process.send_signal(number)

    def ask_to_end(self) -> None:
        """Send the signal that ends it gently, once: a second one could cut that short."""
        if not self._asked:
            self._asked = True
            self.send(self.stop_signal)

    def end(self, patience: float) -> None:
        """Ask it to end, and kill it if it has not done so in PATIENCE seconds."""
        if self.process is None or not self.running:
            return
        self.ask_to_end()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill what does not end by itself."""
        if self.process is not None and self.running:
            log.warning("a process does not end; killed", extra={"process": self.name})
            self.process.kill()
            self.process.wait()


class Children:
    """The processes: one in front, which takes requests, and those behind it.

    DRAIN is the number of seconds that the one in front gets to finish what all have in hand.
    Before that all serve on for NOTICE seconds, in which the file LEAVING is there.
    """

    def __init__(self, drain: float, notice: float, leaving: Path) -> None:
        self._drain = drain
        self._notice = notice
        self._leaving = leaving
        self._front: list[Child] = []
        self._behind: list[Child] = []
        # Without these nothing works; others are on trial, or about to end.
        self._vital: list[Child] = []
        self._stopping = False

    def stop_on_signals(self) -> None:
        """Stop gently at SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_signal)

    def start_in_front(self, child: Child) -> None:
        """Start the process that takes requests."""
        child.start()
        self._front.append(child)
        self._vital.append(child)

    def start_behind(self, children: Sequence[Child]) -> None:
        """Start processes that nothing depends on yet."""
        for child in children:
            child.start()
            self._behind.append(child)

    def rely_on(self, new: Sequence[Child], instead_of: Sequence[Child] = ()) -> None:
        """Let the death of any of NEW be the end of all, and that of others no more."""
        self._vital = [child for child in self._vital if child not in instead_of] + list(new)

    def forget(self, children: Sequence[Child]) -> None:
        """Forget processes that have ended."""
        self._behind = [child for child in self._behind if child not in children]

    def run(self, child: Child) -> int:
        """Run a process to its end, which a signal to us brings about; return its exit status."""
        self.start_behind([child])
        while child.running:
            if self._stopping:
                child.ask_to_end()
            self._reap_strangers()
            time.sleep(_POLL)
        self.forget([child])
        if self._stopping or child.process is None:
            return 0
        return child.process.returncode if child.process.returncode >= 0 else exit_codes.FAILED

    @property
    def stopping(self) -> bool:
        """Tell whether a signal to stop has come."""
        return self._stopping

    def wait(
        self, condition: Callable[[], bool], seconds: float, trial: Sequence[Child] = ()
    ) -> bool:
        """Wait for CONDITION, at most so many SECONDS; tell whether it came true.

        Not longer than until a signal to stop, or the death of what is vital or on TRIAL.
        """
        deadline = time.monotonic() + seconds
        while not (held := condition()):
            alive = self._dead() is None and all(child.running for child in trial)
            if self._stopping or not alive or time.monotonic() > deadline:
                break
            time.sleep(_POLL)
        return held

    def supervise(self, turn: Callable[[], None]) -> int:
        """Wait for a signal or a death, stop all, and return the exit status.

        TURN is called again and again meanwhile.
        """
        while not self._stopping and not self._dead():
            turn()
            time.sleep(_POLL)
        dead = self._dead()
        if dead is not None and not self._stopping:
            log.error("a process died; all end", extra={"process": dead.name})
        elif self._stopping:
            self._give_notice()
            log.info("draining", extra={"seconds": self._drain})
        self._stop_all()
        return 0 if self._stopping else exit_codes.FAILED

    def _dead(self) -> Child | None:
        self._reap_strangers()
        return next((child for child in self._vital if not child.running), None)

    def _give_notice(self) -> None:
        """Serve on while load balancers learn that they are to send nothing new."""
        self._leaving.touch()
        until = time.monotonic() + self._notice
        while time.monotonic() < until and self._dead() is None:
            time.sleep(_POLL)

    def _stop_all(self) -> None:
        """Stop the one in front; when it has finished, those behind have nothing in hand."""
        for child in self._front:
            child.end(self._drain)
        for child in self._behind:
            child.ask_to_end()
        for child in self._behind:
            child.end(END)

    def _note_signal(self, *_signal: object) -> None:
        self._stopping = True

    def _reap_strangers(self) -> None:
        """As process 1, take leave of orphans that became our children."""
        if os.getpid() != 1:
            return
        children = [*self._front, *self._behind]
        ours = {child.number for child in children}
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is not None and found.si_pid not in ours:
            os.waitpid(found.si_pid, 0)
