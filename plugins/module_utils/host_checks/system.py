"""Check the operating system of a host, its packages and podman."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence

from ansible_collections.atoll.registry.plugins.module_utils.host_checks.runner import (
    ERROR,
    WARNING,
    Host,
    Problem,
    numbers,
    problem,
)

# The first supported version of each distribution, by its ID in os-release.
FIRST_VERSIONS = {
    "debian": (13,),
    "ubuntu": (26, 4),
    "rhel": (9,),
    "rocky": (9,),
    "almalinux": (9,),
    "centos": (9,),
    "ol": (9,),
}
TESTED = ("debian", (13,))
PLATFORMS = "Debian 13, which is tested, Ubuntu 26.04, or Enterprise Linux 9 or 10"
MINIMUM_SYSTEMD = 250
CONTROLLERS = ("memory", "pids")
CONTAINER_STORAGE = "/var/lib/containers"


def operating_system(host: Host) -> Iterator[Problem]:
    """Compare the distribution with the support table."""
    release = os_release(host)
    name = release.get("PRETTY_NAME") or release.get("ID") or "unknown"
    version = numbers(release.get("VERSION_ID", ""))
    first = FIRST_VERSIONS.get(release.get("ID", ""))
    if first is None:
        yield problem(
            "operating-system-unknown",
            ERROR,
            f"The operating system is {name}, which is not in the table of platforms.",
            f"Use {PLATFORMS}, or accept the problem if podman 5 is installed.",
        )
    elif version and version < first:
        yield problem(
            "operating-system-unsupported",
            ERROR,
            f"{name} is too old: its packages have no podman 5.",
            f"Use {PLATFORMS}.",
        )
    elif (release.get("ID"), version[:1]) != TESTED:
        yield problem(
            "operating-system-untested",
            WARNING,
            f"{name} is not tested by us.",
            "Roll out a test registry on this platform first. Debian 13 is tested.",
        )


def os_release(host: Host) -> dict[str, str]:
    """Return the variables of os-release."""
    found = {}
    for line in (host.read("/etc/os-release") or host.read("/usr/lib/os-release")).splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found[name.strip()] = " ".join(shlex.split(value))
    return found


def systemd(host: Host) -> Iterator[Problem]:
    """Check that systemd manages services, and that its version knows the settings of the units."""
    if not host.exists("/run/systemd/system"):
        yield problem(
            "systemd-missing",
            ERROR,
            "systemd does not manage the services of this host, and the containers are systemd"
            " services.",
            "Use a machine that boots with systemd.",
        )
        return
    _status, output = host.run(["systemctl", "--version"])
    version = re.match(r"systemd (\d+)", output)
    if version and int(version.group(1)) < MINIMUM_SYSTEMD:
        yield problem(
            "systemd-old",
            ERROR,
            f"systemd has version {version.group(1)}, and Quadlet units require {MINIMUM_SYSTEMD}.",
            f"Use {PLATFORMS}.",
        )


def control_groups(host: Host) -> Iterator[Problem]:
    """Check that the kernel enforces the limits of the units."""
    if not host.exists("/sys/fs/cgroup/cgroup.controllers"):
        yield problem(
            "cgroup-version",
            ERROR,
            "The host uses control groups of version 1, which podman 5 has deprecated.",
            "Boot with the kernel parameter systemd.unified_cgroup_hierarchy=1.",
        )
        return
    available = host.read("/sys/fs/cgroup/cgroup.controllers").split()
    missing = [name for name in CONTROLLERS if name not in available]
    if missing:
        yield problem(
            "cgroup-controllers",
            WARNING,
            f"The kernel does not limit {' and '.join(missing)} of services, so the limits of the"
            " containers have no effect.",
            "Enable the controllers with the kernel parameter cgroup_enable, or in the hypervisor.",
        )


class Packages:
    """The package manager of a host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.manager = next(
            (
                name
                for name, program in (("apt", "/usr/bin/dpkg-query"), ("dnf", "/usr/bin/dnf"))
                if host.exists(program)
            ),
            "",
        )

    def missing(self, names: Sequence[str]) -> list[str]:
        """Return the packages that are not installed."""
        if self.manager == "apt":
            words = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n"]
            _status, output = self._host.run(words)
            installed = {
                line.partition(" ")[2]
                for line in output.splitlines()
                if line.startswith("installed ")
            }
        else:
            words = ["rpm", "--query", "--all", "--queryformat", "%{NAME}\n"]
            _status, output = self._host.run(words)
            installed = set(output.split())
        return [name for name in names if name not in installed]

    def candidates(self, names: Sequence[str]) -> dict[str, str]:
        """Return the versions that the local package index has, by package, without epochs."""
        if self.manager == "apt":
            _status, output = self._host.run(["apt-cache", "policy", *names])
            found = re.findall(
                r"^(\S+):\n(?: .*\n)*? +Candidate: (?:\d+:)?(\S+)", output, re.MULTILINE
            )
            return {name: version for name, version in found if version != "(none)"}
        # Without --cacheonly DNF would download the index, which takes long.
        words = ["dnf", "--quiet", "--cacheonly", "list", "--available", *names]
        _status, output = self._host.run(words)
        rows = re.findall(r"^([\w+-]+)\.\w+ +(?:\d+:)?(\S+)", output, re.MULTILINE)
        return dict(rows)

    def has_index(self) -> bool:
        """Return whether the package index has been downloaded."""
        folder = "/var/lib/apt/lists" if self.manager == "apt" else "/var/cache/dnf"
        return bool(set(_listed(self._host.path(folder))) - {"lock", "partial", "auxfiles"})


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def packages(manager: Packages, names: Sequence[str]) -> Iterator[Problem]:
    """Check that the repositories have the packages that are not installed."""
    missing = manager.missing(names) if manager.manager else []
    if not missing:
        return
    found = manager.candidates(missing)
    unknown = sorted(set(missing) - set(found))
    if not unknown:
        return
    if not manager.has_index():
        command = "apt-get update" if manager.manager == "apt" else "dnf makecache"
        yield problem(
            "package-index-missing",
            WARNING,
            f"It is unknown whether {', '.join(unknown)} can be installed, because the host has no"
            " package index yet.",
            f"Run `{command}` on the host to check the packages before the rollout.",
        )
        return
    yield problem(
        "packages-unavailable",
        ERROR,
        f"The package repositories of the host do not have {', '.join(unknown)}.",
        "Enable the repositories of the distribution, or install the packages.",
    )


def podman(host: Host, manager: Packages, minimum: str, reason: str) -> Iterator[Problem]:
    """Compare the version of podman, installed or in the package index, with the minimum."""
    status, output = host.run(["podman", "version", "--format", "{{.Client.Version}}"])
    installed = output.strip() if status == 0 else ""
    version = installed
    if not installed:
        version = manager.candidates(["podman"]).get("podman", "") if manager.manager else ""
    if version and numbers(version) < numbers(minimum):
        where = "The host has" if installed else "The package repositories of the host have"
        yield problem(
            "podman-old",
            ERROR,
            f"{where} podman {version}, and {minimum} or later is required: {reason}.",
            f"Use {PLATFORMS}, or install a newer podman.",
        )
    elif not version and not manager.manager:
        yield problem(
            "podman-missing",
            ERROR,
            "The host has no podman, and it is not installed automatically on this distribution.",
            f"Install podman {minimum} or later and its library for Python.",
        )


def python_library(manager: Packages, names: Sequence[str]) -> Iterator[Problem]:
    """Check that the Python of Ansible finds podman's library, unless it is installed later."""
    if importlib.util.find_spec("podman") is not None:
        return
    package = "python3-podman"
    if manager.manager and (package not in names or package in manager.missing([package])):
        return
    yield problem(
        "python-podman-missing",
        ERROR,
        f"The Python that runs Ansible's modules ({sys.executable}) has no module podman.",
        "Set ansible_python_interpreter to /usr/bin/python3, or install the library for this"
        " Python.",
    )


def selinux(host: Host, manager: Packages, names: Sequence[str]) -> Iterator[Problem]:
    """Check the policy and the labels for containers where SELinux is enabled."""
    mode = host.read("/sys/fs/selinux/enforce").strip()
    if not mode:
        return
    enforcing = mode == "1"
    state = "enforcing" if enforcing else "permissive"
    policy = "container-selinux"
    if manager.manager == "dnf" and policy not in names and manager.missing([policy]):
        yield problem(
            "selinux-policy-missing",
            ERROR if enforcing else WARNING,
            f"SELinux is {state}, and the package {policy} with the policy for containers is not"
            " installed.",
            f"Install {policy}, or add it to host_packages.",
        )
    if enforcing:
        yield problem(
            "selinux-untested",
            WARNING,
            "SELinux is enforcing, which is not tested by us.",
            "After the rollout, look for denials with `ausearch -m AVC -ts recent`.",
        )
    label = _label(host.path(CONTAINER_STORAGE))
    if label and not label.split(":")[2].startswith("container_"):
        yield problem(
            "selinux-label",
            ERROR if enforcing else WARNING,
            f"{CONTAINER_STORAGE} has the SELinux label {label}, so containers cannot use it.",
            f"Run `restorecon -R {CONTAINER_STORAGE}` on the host.",
        )


def _label(path: str) -> str:
    try:
        return os.getxattr(path, "security.selinux").decode().rstrip("\0")
    except OSError:
        return ""
