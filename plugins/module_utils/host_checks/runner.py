"""Run the checks of a host in parallel, each within a time limit and independent of the others."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

# Types are evaluated by Python 3.9 on hosts.
Problem = dict[str, str]
Check = Callable[[], Iterable[Problem]]

COMMAND_SECONDS = 20
ERROR = "error"
WARNING = "warning"


def problem(identifier: str, severity: str, sentence: str, remedy: str) -> Problem:
    """Return a problem without its host, which `run_checks` adds."""
    return {"id": identifier, "severity": severity, "problem": sentence, "remedy": remedy}


def run_checks(host: str, checks: Mapping[str, Check], seconds: float) -> list[Problem]:
    """Return the problems that all checks find.

    A check that raises an exception or does not finish in time is a problem itself.

    Args:
        host: Name of the host in the problems.
        checks: The checks by name. Text after a colon distinguishes checks of the same subject.
        seconds: Time for all checks together.
    """
    found: dict[str, list[Problem]] = {}
    threads = [
        threading.Thread(target=_run, args=(name, check, found), daemon=True)
        for name, check in checks.items()
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        # A thread that waits for a name server cannot be interrupted; it ends with the process.
        thread.join(max(0.0, deadline - time.monotonic()))
    results = dict(found)
    return [
        {**item, "host": host}
        for name in checks
        for item in results.get(name, [_unfinished(name, seconds)])
    ]


def _run(name: str, check: Check, found: dict[str, list[Problem]]) -> None:
    try:
        found[name] = list(check())
    except Exception as error:
        found[name] = [_not_checked(name, f"failed: {type(error).__name__}: {error}")]


def _unfinished(name: str, seconds: float) -> Problem:
    return _not_checked(name, f"did not finish within {seconds:g} seconds")


def _not_checked(name: str, outcome: str) -> Problem:
    return problem(
        f"{name.partition(':')[0]}-not-checked",
        WARNING,
        f"The check of the subject '{name}' {outcome}.",
        "Check the subject manually.",
    )


class Host:
    """Programs and files of a host.

    Args:
        root: Directory that contains the files.
    """

    def __init__(self, root: str = "/") -> None:
        self._root = root

    def run(
        self, words: Sequence[str], given: str | None = None, seconds: float = COMMAND_SECONDS
    ) -> tuple[int, str]:
        """Return the exit status and the output of a program; 127 if it does not exist.

        Args:
            words: The program and its arguments.
            given: Text for the standard input.
            seconds: Time after which the program is killed.
        """
        try:
            done = subprocess.run(  # noqa: S603 - the words are lists of this collection
                words,
                input=given or "",
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
                timeout=seconds,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except FileNotFoundError:
            return 127, ""
        return done.returncode, done.stdout

    def path(self, name: str) -> str:
        """Return the path of a file."""
        return os.path.join(self._root, name.lstrip("/"))

    def read(self, name: str) -> str:
        """Return the text of a file; "" if it does not exist."""
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def exists(self, name: str) -> bool:
        """Return whether a file exists."""
        return os.path.exists(self.path(name))


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, for comparisons."""
    found = re.match(r"\s*(\d+(?:\.\d+)*)", version)
    return tuple(int(word) for word in found.group(1).split(".")) if found else ()
