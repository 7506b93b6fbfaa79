"""Child processes that share the imported modules of this process.

A program of its own would import them again: a second of processor time, and tens of MiB of memory,
for each process. A fork shares both. It must not inherit threads, locks or connections, so this
process has none: modules are imported here, and everything else is created in the child.
"""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

# Runs a process to its end, and returns its exit code even if it raised an exception.
Run = Callable[[Callable[[], int]], int]

# The field arg_start of /proc/self/stat, counted from the one after the name; arg_end follows it.
_ARGUMENTS_START = 45
# Signals that this process handles. In the child they end the process until it handles them.
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Fork:
    """A forked process, with the part of the interface of `subprocess.Popen` that is used here.

    Args:
        run: runs the process and returns its exit code.
        words: the words after `atoll` with which the process is listed.
        environment: variables in addition to those of this process.
    """

    def __init__(
        self, run: Callable[[], int], words: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        fork = multiprocessing.get_context("fork")
        self._process = fork.Process(target=_run, args=(run, words, environment))
        sys.stdout.flush()
        # The garbage collector of the child leaves these objects alone, so their pages stay shared.
        gc.freeze()
        # A signal that arrives before the child has its own handlers waits for them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        # Before the exit handler of multiprocessing, which waits for processes: an error here must
        # end the container.
        atexit.register(self.kill)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return `returncode`."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end of the process, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process if it runs."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()


def _run(run: Callable[[], int], words: Sequence[str], environment: Mapping[str, str]) -> None:
    for number in _HANDLED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
    os.setsid()
    os.environ.update(environment)
    _show_command(["atoll", *words])
    gc.enable()
    sys.exit(run())


def _show_command(words: Sequence[str]) -> None:
    """Show a command in lists of processes, as far as the memory of the parent's suffices."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    start, end = int(fields[_ARGUMENTS_START]), int(fields[_ARGUMENTS_START + 1])
    room = end - start
    text = b"\0".join(word.encode() for word in words)[: room - 1]
    # Without this access, processes are listed with the command of their parent.
    with suppress(OSError), Path("/proc/self/mem").open("r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(text.ljust(room, b"\0"))
