#!/usr/bin/env python3
"""Compare pinned dependencies with an advisory database, by means of pip-audit.

usage: app/audit_dependencies.py LOCK...

Exit status: 0 if no advisory is known, 1 if there are some, 64 for a usage error, 69 if no database
could be reached or a dependency could not be looked up. PIP_AUDIT_VULNERABILITY_SERVICE selects the
database, as in pip-audit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

_VULNERABLE = 1
_USAGE = 64
_UNAVAILABLE = 69
_NOT_CHECKED = (
    "Debian packages are not part of this audit: compare the SBOM of an image (sbom.cdx.json) with"
    " Debian's security tracker, and rebuild the images to take its updates."
)


def audit(locks: list[str]) -> int:
    """Print what is known about the entries of lock files; return the exit status."""
    words = ["pip-audit", "--disable-pip", "--require-hashes", "--progress-spinner=off"]
    words += ["--format=json", *(f"--requirement={lock}" for lock in locks)]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
    try:
        dependencies = json.loads(answer.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        _say("\n".join(answer.stderr.strip().splitlines()[-1:]))
        _say("NOT AUDITED: no advisory database answered; nothing is known about the dependencies.")
        return _UNAVAILABLE
    return _report(dependencies)


def _report(dependencies: list[dict[str, Any]]) -> int:
    vulnerable = [one for one in dependencies if one.get("vulns")]
    skipped = [one for one in dependencies if "skip_reason" in one]
    for one in vulnerable:
        for advisory in one["vulns"]:
            fixed = ", ".join(advisory.get("fix_versions", [])) or "no version"
            _say(f"{one['name']} {one['version']}: {advisory['id']}, fixed in {fixed}")
    for one in skipped:
        _say(f"{one['name']}: NOT AUDITED: {one['skip_reason']}")
    checked = len(dependencies) - len(skipped)
    _say(f"{checked} dependencies audited, {len(vulnerable)} of them with advisories.")
    _say(_NOT_CHECKED)
    if vulnerable:
        return _VULNERABLE
    return _UNAVAILABLE if skipped or not checked else 0


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def main(arguments: list[str]) -> int:
    """Audit the lock files that ARGUMENTS name."""
    if not arguments:
        _say("usage: app/audit_dependencies.py LOCK...")
        return _USAGE
    return audit(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
