"""Run several processes as one: if one dies, all are stopped, and systemd restarts them."""

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
from atoll.server.forks import Fork

log = logging.getLogger(__name__)

# The start of every command of this image, independent of PATH.
ATOLL = (sys.executable, "-m", "atoll.cli.main")
# Seconds for a process without requests to exit.
STOP_SECONDS = 10
# Seconds between two looks at processes, and while one is awaited.
_POLL, _AWAITED_POLL = 0.05, 0.005


@dataclass
class Child:
    """A child process.

    Attributes:
        name: its name in the log.
        command: the program and its arguments; without the program if there is `run`.
        stop_signal: the signal for a graceful stop.
        environment: variables in addition to those of this process.
        run: what a fork of this process runs instead of a program.
    """

    name: str
    command: Sequence[str]
    stop_signal: signal.Signals
    environment: Mapping[str, str] = field(default_factory=dict)
    run: Callable[[], int] | None = None
    process: subprocess.Popen[bytes] | Fork | None = field(default=None, init=False)
    _stop_requested: bool = field(default=False, init=False)

    def start(self) -> None:
        """Start the process in a session of its own, so that a terminal's signals reach only us."""
        if self.run is not None:
            self.process = Fork(self.run, self.command, self.environment)
            return
        self.process = subprocess.Popen(  # noqa: S603
            self.command, env=os.environ | self.environment, start_new_session=True
        )

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The process id; 0 before the start."""
        return self.process.pid if self.process is not None else 0

    def send(self, signal_number: signal.Signals) -> None:
        """Send a signal to the process if it runs."""
        if self.process is not None and self.running:
            self.process.send_signal(signal_number)

    def request_stop(self) -> None:
        """Send the stop signal once: a second one could interrupt a graceful stop."""
        if not self._stop_requested:
            self._stop_requested = True
            self.send(self.stop_signal)

    def stop(self, timeout: float) -> None:
        """Request a stop, and kill the process after TIMEOUT seconds."""
        if self.process is None or not self.running:
            return
        self.request_stop()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the process if it still runs."""
        if self.process is not None and self.running:
            log.warning("process killed", extra={"child": self.name})
            self.process.kill()
            self.process.wait()


def _do_nothing() -> None:
    """Do nothing."""


class Supervisor:
    """The frontend, which accepts requests, and the backends behind it.

    Args:
        drain: seconds for the frontend to finish requests in progress.
        notice: seconds before that in which all still serve, and the file `draining` exists.
        draining: the file that makes health checks report 503.
    """

    def __init__(self, drain: float, notice: float, draining: Path) -> None:
        self._drain = drain
        self._notice = notice
        self._draining = draining
        self._frontends: list[Child] = []
        self._backends: list[Child] = []
        # If one of these dies, all are stopped. Others are being started or about to end.
        self._vital: list[Child] = []
        self._stopping = False

    def stop_on_signals(self) -> None:
        """Stop gracefully at SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_signal)

    def start_frontend(self, child: Child) -> None:
        """Start the process that accepts requests."""
        child.start()
        self._frontends.append(child)
        self._vital.append(child)

    def start_backends(self, children: Sequence[Child]) -> None:
        """Start processes that nothing depends on yet."""
        for child in children:
            child.start()
            self._backends.append(child)

    def make_vital(self, new: Sequence[Child], instead_of: Sequence[Child] = ()) -> None:
        """Stop all when one of NEW dies, and no longer when one of INSTEAD_OF does."""
        self._vital = [child for child in self._vital if child not in instead_of] + list(new)

    def forget(self, children: Sequence[Child]) -> None:
        """Forget processes that have ended."""
        self._backends = [child for child in self._backends if child not in children]

    def run(self, child: Child, meanwhile: Callable[[], None] = _do_nothing) -> int:
        """Run a process to its end and return its exit code. A signal to this process stops it.

        Args:
            child: the process.
            meanwhile: is called once while the process runs.
        """
        self.start_backends([child])
        meanwhile()
        while child.running:
            if self._stopping:
                child.request_stop()
            self._reap_orphans()
            time.sleep(_AWAITED_POLL)
        self.forget([child])
        status = None if child.process is None else child.process.returncode
        if self._stopping or status is None:
            return 0
        return status if status >= 0 else exit_codes.FAILED

    @property
    def stopping(self) -> bool:
        """Whether a signal to stop has arrived."""
        return self._stopping

    def wait(
        self, condition: Callable[[], bool], seconds: float, starting: Sequence[Child] = ()
    ) -> bool:
        """Wait for a condition, until a signal to stop or the death of a process.

        Args:
            condition: is polled.
            seconds: the time limit.
            starting: processes whose death ends the wait, like that of vital ones.

        Returns:
            Whether the condition was met.
        """
        deadline = time.monotonic() + seconds
        while not (held := condition()):
            alive = self._dead() is None and all(child.running for child in starting)
            if self._stopping or not alive or time.monotonic() > deadline:
                break
            time.sleep(_AWAITED_POLL)
        return held

    def supervise(self, step: Callable[[], None]) -> int:
        """Run until a signal or the death of a vital process, then stop all.

        Args:
            step: is called repeatedly.

        Returns:
            The exit code.
        """
        while not self._stopping and not self._dead():
            step()
            time.sleep(_POLL)
        dead = self._dead()
        if dead is not None and not self._stopping:
            log.error("process died, stopping all", extra={"child": dead.name})
        elif self._stopping:
            self._give_notice()
            log.info("draining", extra={"seconds": self._drain})
        self._stop_all()
        return 0 if self._stopping else exit_codes.FAILED

    def _dead(self) -> Child | None:
        self._reap_orphans()
        return next((child for child in self._vital if not child.running), None)

    def _give_notice(self) -> None:
        """Serve while load balancers notice that health checks fail."""
        self._draining.touch()
        until = time.monotonic() + self._notice
        while time.monotonic() < until and self._dead() is None:
            time.sleep(_POLL)

    def _stop_all(self) -> None:
        """Stop the frontend first: once it has exited, the backends have no requests."""
        for child in self._frontends:
            child.stop(self._drain)
        for child in self._backends:
            child.request_stop()
        for child in self._backends:
            child.stop(STOP_SECONDS)

    def _note_signal(self, *_signal: object) -> None:
        self._stopping = True

    def _reap_orphans(self) -> None:
        """As process 1, reap orphans that became our children."""
        if os.getpid() != 1:
            return
        children = [*self._frontends, *self._backends]
        ours = {child.pid for child in children}
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is not None and found.si_pid not in ours:
            os.waitpid(found.si_pid, 0)
