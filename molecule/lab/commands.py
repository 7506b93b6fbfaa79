"""Run external programs."""

import fcntl
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from errors import LabError

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".cache"
IMAGES = CACHE / "images"

# The command that runs podman in the namespace of the machines, from any shell.
PODMAN = (str(REPOSITORY / "molecule/lab/in-machine-namespace"), "podman")


def run(words: Sequence[str], *, given: str | None = None) -> str:
    """Return the standard output of a program. Raises LabError with its error messages."""
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{_shown(words)} failed: {_last_lines(done.stderr or done.stdout)}")
    return done.stdout


def succeeds(words: Sequence[str]) -> bool:
    """Return whether a program succeeds."""
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def podman(*words: str, given: str | None = None) -> str:
    """Return the output of podman in the namespace of the machines. Raises LabError."""
    return run([*PODMAN, *words], given=given)


def run_logged(words: Sequence[str], log: Path, **environment: str) -> None:
    """Run a program and write its output to a log. Raises LabError."""
    with open_log(log) as output:
        done = subprocess.run(
            words,
            cwd=REPOSITORY,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise LabError(f"{_shown(words)} failed: {_last_lines(log.read_text())}", log)


def open_log(log: Path) -> IO[str]:
    """Open a new log that only its owner can read, because output may contain secrets."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch(mode=0o600)
    return log.open("w")


@contextmanager
def alone(work: str) -> Iterator[None]:
    """Hold a lock, so that no other command does the same work concurrently."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{work}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def wait_until(condition: str, holds: Callable[[], bool], *, seconds: float = 180) -> None:
    """Poll until a condition holds.

    Args:
        condition: The condition as a clause, for the error.
        holds: Returns whether the condition holds.
        seconds: How long to wait.

    Raises:
        LabError: The condition does not hold in time.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise LabError(f"timeout after {seconds:.0f} s; expected: {condition}")
        time.sleep(0.2)


def _shown(words: Sequence[str]) -> str:
    inner = words[1:] if words[0] == PODMAN[0] else words
    return f"`{shlex.join(inner)}`"


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-12:])
