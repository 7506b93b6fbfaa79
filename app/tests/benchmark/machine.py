"""The description of the machine and of the measured programs."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path

from commands import REPOSITORY, podman

from .arena import Arena
from .atoll_site import RELEASED

_PACKAGES = ("docker-registry", "skopeo", "wrk")
_BUSY_SECONDS = 2.0


def describe_machine() -> dict[str, str]:
    """Return the properties that affect the figures."""
    memory = _field("/proc/meminfo", "MemTotal", ":")
    system = _field("/etc/os-release", "PRETTY_NAME", "=").strip('"')
    podman_version = podman("version", "--format", "{{.Client.Version}}").strip()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": f"{os.cpu_count()} x {_field('/proc/cpuinfo', 'model name', ':')}",
        "memory": f"{int(memory.split()[0]) / 2**20:.0f} GiB",
        "coreutils": _coreutils(),
        "system": f"{system}, Linux {platform.release()}, podman {podman_version}",
    }


def describe_programs(arena: Arena, image: str) -> dict[str, str]:
    """Return the versions of what is measured and of what measures."""
    words = ["dpkg-query", "--show", "--showformat=${Package} ${Version}, ", *_PACKAGES]
    packages = arena.run(words).output
    rclone = arena.run(["rclone", "version"]).output.split()[1]
    # Another image may be of another commit.
    commit = f"{_commit()}, " if image == RELEASED else ""
    return {
        "Atoll": f"{commit}image {arena.images[image][:12]}",
        "programs": f"{packages}rclone {rclone}, Ceph {arena.store.version()}",
    }


def busy_share() -> float:
    """Return the share of the processors' time that is used now, before anything is measured."""
    before = _times()
    time.sleep(_BUSY_SECONDS)
    spent = [now - then for now, then in zip(_times(), before, strict=True)]
    idle = spent[3] + spent[4]
    return 1 - idle / max(sum(spent), 1)


def _times() -> list[int]:
    line = Path("/proc/stat").read_text().splitlines()[0]
    return [int(field) for field in line.split()[1:9]]


def _commit() -> str:
    words = ("git", "describe", "--always", "--dirty")
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else "unknown commit"


def _coreutils() -> str:
    words = ("sha256sum", "--version")
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0].rpartition(" ")[2]


def _field(path: str, name: str, separator: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(separator)
        if key.strip() == name:
            return value.strip()
    return "unknown"
