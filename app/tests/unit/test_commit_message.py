"""The commit message hook accepts the project's format and names the problem otherwise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HOOK = Path(__file__).resolve().parents[3] / ".ci" / "commit-message"


def check(directory: Path, message: str) -> tuple[int, str]:
    file = directory / "message"
    file.write_text(message)
    done = subprocess.run([sys.executable, HOOK, file], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "message",
    [
        "Fix crash when CA certificates are reloaded\n",
        "Fix it\n\nThe reason, in a sentence.\n# a comment of git's " + "that is long " * 9 + "\n",
        "Merge branch 'main' into a-branch-with-a-name-that-is-too-long-for-a-subject-by-hand\n",
        f"{'x' * 72}".capitalize(),
    ],
)
def test_a_message_in_the_project_format_is_accepted(tmp_path: Path, message: str) -> None:
    assert check(tmp_path, message) == (0, "")


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("\n", "empty"),
        ("X" * 73, "73 characters"),
        ("fix it", "small letter"),
        ("Fix it.", "full stop"),
        ("Fixed it", "imperative: 'Fixed'"),
        ("Adds it", "imperative: 'Adds'"),
        ("Fix it\nThe reason", "empty line"),
        ("Fix it\n\n" + "x" * 101, "line 3 has 101"),
    ],
)
def test_a_message_in_another_format_is_refused_with_the_reason(
    tmp_path: Path, message: str, problem: str
) -> None:
    status, output = check(tmp_path, message)
    assert status == 1
    assert problem in output
