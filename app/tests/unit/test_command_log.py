"""Commands write warnings as text, and servers write all records as JSON."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import yaml
from atoll.logs import TextFormatter

from .valid_bundle import valid_bundle

APP = Path(__file__).parents[2]
# Writes one record as a command, and one after the command has become a process.
BOTH = """
import logging
from atoll import logs
logs.set_up_for_command()
logging.getLogger("one").warning("store marked unavailable", extra={"location": "eu"})
logging.getLogger("two").info("not for operators")
logs.set_up()
logging.getLogger("three").info("schema is current")
"""


def written(code: str, **environment: str) -> list[str]:
    """Return the lines of the standard error of Python code."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(APP), **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stderr.splitlines()


def test_a_command_writes_text_until_it_becomes_a_process() -> None:
    text, line = written(BOTH)
    assert text == "warning: store marked unavailable (location: eu)"
    assert '"message": "schema is current"' in line


def test_values_cannot_control_a_terminal() -> None:
    record = logging.makeLogRecord(
        {"msg": "refused", "levelname": "ERROR", "cause": "\x1b[2Jgone", "attempts": 3}
    )
    shown = TextFormatter().format(record)
    assert shown == r'error: refused (cause: "\u001b[2Jgone", attempts: 3)'


def test_a_command_does_not_repeat_the_warnings_about_the_bundle(tmp_path: Path) -> None:
    bundle = valid_bundle()
    del bundle["TRUSTED_PROXIES"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(bundle))
    code = "from atoll.server import bundle; bundle.{}()"
    directory = {"ATOLL_BUNDLE_DIRECTORY": str(tmp_path)}
    assert written(code.format("load_bundle_for_command"), **directory) == []
    assert written(code.format("load_bundle"), **directory) == ["configuration warning"]
