#!/usr/bin/env python3
"""Run Chromium so that it does not notice changes of the machine's network.

Chromium closes its connections when an interface is added or removed, as parallel tests do with
their containers. Most requests then fail with ERR_NETWORK_CHANGED, and a few never end. It learns
of changes from a netlink socket. Without one it regards the network as unchanged, so this program
forbids such sockets (seccomp, see seccomp(2)) and becomes Chromium.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from pathlib import Path

# Its path, for programs that start a browser.
PATH = Path(__file__)
_CHROMIUM = "/usr/bin/chromium"

# <linux/prctl.h>
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
# <linux/seccomp.h>
_SECCOMP_MODE_FILTER = 2
_SECCOMP_RET_ERRNO = 0x00050000
_SECCOMP_RET_ALLOW = 0x7FFF0000
# <linux/audit.h> and the number of the system call `socket`, for each architecture.
_ARCHITECTURES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
# <linux/bpf_common.h>: load a word of the call, jump if equal, return.
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
# Offsets in `struct seccomp_data`.
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16


def _instruction(code: int, value: int, if_not_equal: int = 0) -> bytes:
    return struct.pack("HBBI", code, 0, if_not_equal, value)


def _program() -> bytes:
    """Return a filter by which `socket(AF_NETLINK, ...)` fails, and all other calls do not."""
    architecture, number = _ARCHITECTURES[platform.machine()]
    return b"".join(
        [
            _instruction(_LOAD, _ARCHITECTURE),
            _instruction(_JUMP_IF_EQUAL, architecture, if_not_equal=5),
            _instruction(_LOAD, _NUMBER),
            _instruction(_JUMP_IF_EQUAL, number, if_not_equal=3),
            _instruction(_LOAD, _FIRST_ARGUMENT),
            _instruction(_JUMP_IF_EQUAL, socket.AF_NETLINK, if_not_equal=1),
            _instruction(_RETURN, _SECCOMP_RET_ERRNO | errno.EAFNOSUPPORT),
            _instruction(_RETURN, _SECCOMP_RET_ALLOW),
        ]
    )


def forbid_netlink_sockets() -> None:
    """Forbid netlink sockets to this process and its children."""
    program = _program()
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog
    header = struct.pack("HP", len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(header), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {arguments[0]}")


if __name__ == "__main__":
    forbid_netlink_sockets()
    os.execv(_CHROMIUM, [_CHROMIUM, *sys.argv[1:]])
