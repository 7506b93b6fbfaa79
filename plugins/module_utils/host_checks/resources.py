"""Check the disk space, the memory, the addresses and the ports of a host."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.atoll.registry.plugins.module_utils.host_checks.runner import (
    ERROR,
    WARNING,
    Host,
    Problem,
    problem,
)

GIBIBYTE = 2**30
_LISTEN = "0A"  # the state in /proc/net/tcp
_IPV6_HEX_DIGITS = 32


def disk(host: Host, paths: Iterable[Mapping[str, Any]]) -> Iterator[Problem]:
    """Check the free space of each file system for all paths on it."""
    file_systems: dict[int, list[tuple[str, int]]] = {}
    free: dict[int, int] = {}
    for entry in paths:
        existing = _existing(host.path(entry["path"]))
        device = os.stat(existing).st_dev
        status = os.statvfs(existing)
        free[device] = status.f_bavail * status.f_frsize
        file_systems.setdefault(device, []).append((entry["path"], entry["free_bytes"]))
    for device, wanted in file_systems.items():
        required = sum(size for _path, size in wanted)
        if free[device] < required:
            names = " and ".join(sorted({path for path, _size in wanted}))
            yield problem(
                "disk-space",
                ERROR,
                f"The file system of {names} has {_gibibytes(free[device])} of free space, and"
                f" {_gibibytes(required)} are required.",
                "Enlarge the file system, or remove files.",
            )


def _existing(path: str) -> str:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def memory(host: Host, minimum: int, limits: Iterable[str]) -> Iterator[Problem]:
    """Compare the memory with the minimum and with the limits of all services."""
    found = re.search(r"^MemTotal: +(\d+) kB", host.read("/proc/meminfo"), re.MULTILINE)
    if not found:
        return
    total = int(found.group(1)) * 1024
    recommended = sum(map(size_of, limits))
    if total < max(minimum, recommended):
        wanted = minimum if total < minimum else recommended
        yield problem(
            "memory-low",
            ERROR if total < minimum else WARNING,
            f"The host has {_gibibytes(total)} of memory, and"
            + (
                f" at least {_gibibytes(wanted)} are required."
                if total < minimum
                else f" the limits of its services add up to {_gibibytes(wanted)}."
            ),
            "Add memory, or reduce the limits, such as registry_memory.",
        )


def size_of(text: str) -> int:
    """Return the bytes of a size such as 2G or 256mb; 0 for other text."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([kmgt]?)i?b?", text.strip().lower())
    if not found:
        return 0
    return int(float(found.group(1)) * 1024 ** " kmgt".index(found.group(2) or " "))


def _gibibytes(size: int) -> str:
    return f"{size / GIBIBYTE:.1f} GiB"


def addresses(ports: Iterable[Mapping[str, Any]]) -> Iterator[Problem]:
    """Check that the host has each address that ports are published on."""
    variables: dict[str, list[str]] = {}
    for entry in ports:
        if not entry["floating"]:
            variables.setdefault(entry["address"].strip("[]"), []).append(entry["name"])
    for address, names in variables.items():
        if not _has_address(address):
            yield problem(
                "address-missing",
                ERROR,
                f"The host does not have the address {address} of {', '.join(sorted(set(names)))}."
                " Behind address translation, a host does not have the address that Ansible"
                " connects to.",
                "Set the address variable of the role to an address of the host (`ip address`).",
            )


def _has_address(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return False
            raise
    return True


def ports(
    host: Host, wanted: Iterable[Mapping[str, Any]], own_units: Sequence[str]
) -> Iterator[Problem]:
    """Check that no service except those of the registry listens on the ports."""
    listening = list(_listeners(host))
    needed = [entry for entry in wanted if _others(entry, listening)]
    if not needed:
        return
    owners = dict(_owners(host))
    for entry in needed:
        for _address, _port, inode in _others(entry, listening):
            name, group = owners.get(inode, ("another process", ""))
            if not any(f"/{unit}.service" in group for unit in own_units):
                yield problem(
                    "port-in-use",
                    ERROR,
                    f"Port {entry['port']} of {entry['address']} ({entry['name']}) is in use by"
                    f" {name}.",
                    f"Stop the other service, or change {entry['name']}.",
                )
                break


def _others(
    entry: Mapping[str, Any], listening: Iterable[tuple[str, int, str]]
) -> list[tuple[str, int, str]]:
    wanted = entry["address"].strip("[]")
    wildcards = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    return [
        found
        for found in listening
        if found[1] == entry["port"]
        and (found[0] == wanted or found[0] in wildcards or wanted in wildcards)
    ]


def _listeners(host: Host) -> Iterator[tuple[str, int, str]]:
    """Yield the address, the port and the inode of each listening socket."""
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in host.read(name).splitlines()[1:]:
            words = line.split()
            if words[3] == _LISTEN:
                address, port = words[1].split(":")
                yield _decoded(address), int(port, 16), words[9]


def _decoded(text: str) -> str:
    """Return an address from the hexadecimal form of /proc: words in the byte order of the host."""
    words = [bytes.fromhex(text[index : index + 8])[::-1] for index in range(0, len(text), 8)]
    family = socket.AF_INET6 if len(text) == _IPV6_HEX_DIGITS else socket.AF_INET
    return socket.inet_ntop(family, b"".join(words))


def _owners(host: Host) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the inode of each socket with the name and the control group of its process."""
    for process in os.listdir(host.path("/proc")):
        if not process.isdecimal():
            continue
        folder = f"/proc/{process}"
        try:
            files = os.listdir(host.path(f"{folder}/fd"))
            name = host.read(f"{folder}/comm").strip()
            group = host.read(f"{folder}/cgroup")
        except OSError:
            continue
        for file in files:
            try:
                target = os.readlink(host.path(f"{folder}/fd/{file}"))
            except OSError:
                continue
            if target.startswith("socket:["):
                yield target[len("socket:[") : -1], (f"{name} (process {process})", group)
