"""An incomplete audit of dependencies is never reported as a successful one."""

from __future__ import annotations

import json
from pathlib import Path

import audit_dependencies
import pytest

GOOD = {"name": "falcon", "version": "4.4.0", "vulns": []}
BAD = {
    "name": "falcon",
    "version": "4.4.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["4.4.1"]}],
}
SKIPPED = {"name": "falcon", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (json.dumps({"dependencies": [GOOD]}), 0, "1 dependencies audited, 0 of them"),
        (json.dumps({"dependencies": [BAD]}), 1, "falcon 4.4.0: PYSEC-1, fixed in 4.4.1"),
        (json.dumps({"dependencies": [GOOD, SKIPPED]}), 69, "falcon: NOT AUDITED: not found"),
        (json.dumps({"dependencies": []}), 69, "0 dependencies audited"),
        ("", 69, "NOT AUDITED: no advisory database was reachable"),
    ],
)
def test_the_exit_status_distinguishes_clean_vulnerable_and_incomplete(
    answer: str,
    status: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = tmp_path / "pip-audit"
    program.write_text(f"#!/bin/sh\ncat <<'EOF'\n{answer}\nEOF\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert audit_dependencies.main(["requirements.lock"]) == status
    assert words in capsys.readouterr().err
