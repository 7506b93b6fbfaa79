#!/usr/bin/env python3
"""Check pinned dependencies for known vulnerabilities with pip-audit.

usage: app/audit_dependencies.py LOCK...

Exit status: 0 if there are no advisories, 1 if there are some, 64 for a usage error, 69 if no
advisory database was reachable or a dependency could not be checked.
PIP_AUDIT_VULNERABILITY_SERVICE selects the database, as in pip-audit.
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
    "Debian packages are not audited: compare the SBOM of an image (sbom.cdx.json) with Debian's"
    " security tracker, and rebuild the images to install updates."
)


def audit(locks: list[str]) -> int:
    """Report the advisories for the entries of lock files, and return the exit status."""
    command = ["pip-audit", "--disable-pip", "--require-hashes", "--progress-spinner=off"]
    command += ["--format=json", *(f"--requirement={lock}" for lock in locks)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    try:
        dependencies = json.loads(result.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        _print("\n".join(result.stderr.strip().splitlines()[-1:]))
        _print("NOT AUDITED: no advisory database was reachable.")
        return _UNAVAILABLE
    return _report(dependencies)


def _report(dependencies: list[dict[str, Any]]) -> int:
    vulnerable = [dependency for dependency in dependencies if dependency.get("vulns")]
    skipped = [dependency for dependency in dependencies if "skip_reason" in dependency]
    for dependency in vulnerable:
        name, version = dependency["name"], dependency["version"]
        for advisory in dependency["vulns"]:
            fixed = ", ".join(advisory.get("fix_versions", [])) or "no version"
            _print(f"{name} {version}: {advisory['id']}, fixed in {fixed}")
    for dependency in skipped:
        _print(f"{dependency['name']}: NOT AUDITED: {dependency['skip_reason']}")
    checked = len(dependencies) - len(skipped)
    _print(f"{checked} dependencies audited, {len(vulnerable)} of them with advisories.")
    _print(_NOT_CHECKED)
    if vulnerable:
        return _VULNERABLE
    return _UNAVAILABLE if skipped or not checked else 0


def _print(line: str) -> None:
    sys.stderr.write(line + "\n")


def main(arguments: list[str]) -> int:
    """Audit the given lock files."""
    if not arguments:
        _print("usage: app/audit_dependencies.py LOCK...")
        return _USAGE
    return audit(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
