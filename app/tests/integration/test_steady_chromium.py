"""Chromium of the tests keeps its connections when other tests add or remove networks."""

from __future__ import annotations

import subprocess
import sys

from . import steady_chromium

# Chromium asks for a netlink socket and then connects to servers.
OPEN_SOCKETS = """
import socket, subprocess, sys
from steady_chromium import forbid_netlink_sockets
forbid_netlink_sockets()
ask = "import socket; socket.socket(socket.{}, socket.SOCK_DGRAM)"
for family in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"):
    done = subprocess.run([sys.executable, "-c", ask.format(family)], capture_output=True)
    print(family, "refused" if done.returncode else "allowed")
"""


def test_only_netlink_sockets_are_forbidden_to_the_program_and_its_children() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OPEN_SOCKETS],
        cwd=steady_chromium.PATH.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "AF_INET allowed",
        "AF_INET6 allowed",
        "AF_UNIX allowed",
        "AF_NETLINK refused",
    ]
