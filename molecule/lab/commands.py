"""Run the programs that the lab is made of."""

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

# The words that reach podman where the machines live, from any shell.
PODMAN = (str(REPOSITORY / "molecule/lab/in-machine-namespace"), "podman")


def run(words: Sequence[str], *, given: str | None = None) -> str:
    """Run a program and return what it printed; fail with what it complained about."""
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{_shown(words)} failed: {_last_lines(done.stderr or done.stdout)}")
    return done.stdout


def succeeds(words: Sequence[str]) -> bool:
    """Run a program for its answer: yes or no."""
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def podman(*words: str, given: str | None = None) -> str:
    """Run podman where the machines live."""
    return run([*PODMAN, *words], given=given)


def run_logged(words: Sequence[str], log: Path, **environment: str) -> None:
    """Run a program with everything it prints in a log."""
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
    """Begin a log, readable by its owner only: programs print more than they should."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch(mode=0o600)
    return log.open("w")


@contextmanager
def alone(work: str) -> Iterator[None]:
    """Wait until no other command does the same work, which would spoil this one's."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{work}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def wait_until(what: str, happened: Callable[[], bool], *, seconds: float = 180) -> None:
    """Ask again and again until something has happened."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise LabError(f"waited {seconds:.0f} s in vain until {what}")
        time.sleep(0.2)


def _shown(words: Sequence[str]) -> str:
    inner = words[1:] if words[0] == PODMAN[0] else words
    return f"`{shlex.join(inner)}`"


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-12:])
