"""skopeo, which confirms what the client reads."""

from __future__ import annotations

import subprocess
from pathlib import Path

from atoll.upstream.credentials import Credentials

from .certificates import PrivateCa


def skopeo(ca: PrivateCa, credentials: Credentials, command: str, *words: str) -> bytes:
    """Run a command with the same credentials for all registries, and return its output."""
    directory = ca.certificate.parent / "skopeo"
    directory.mkdir(exist_ok=True)
    (directory / "ca.crt").write_bytes(ca.certificate.read_bytes())
    sides = [""] if command != "copy" else _sides(words)
    options = [
        option
        for side in sides
        for option in (
            f"--{side}cert-dir={directory}",
            f"--{side}creds={credentials.username}:{credentials.password}",
        )
    ]
    done = subprocess.run(
        ["skopeo", "--insecure-policy", command, *options, *words],
        capture_output=True,
        check=False,
        env={"HOME": str(Path("/nonexistent")), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _sides(words: tuple[str, ...]) -> list[str]:
    """Return the prefixes of the options for the registries that `skopeo copy` accesses."""
    source, target = words[-2:]
    sides = {"src-": source, "dest-": target}
    return [prefix for prefix, name in sides.items() if name.startswith("docker://")]
