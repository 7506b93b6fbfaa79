"""A name server whose answers change from one query to the next."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

_A, _AAAA, _IN = 1, 28, 1
# A response, authoritative, recursion available; without an error, or with NXDOMAIN.
_FOUND, _UNKNOWN = 0x8580, 0x8583
_POINTER_TO_QUESTION = 0xC00C


class NameServer:
    """Answers queries for addresses over UDP.

    Attributes:
    names: for each name its answers, one list of addresses for each query of a type that any of its
        addresses has; the last one is repeated.
    asked: the number of such queries for each name.
    """

    def __init__(self, address: str, names: dict[str, list[Sequence[str]]]) -> None:
        self.names = names
        self.asked: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))

    @contextmanager
    def running(self) -> Iterator[NameServer]:
        thread = threading.Thread(target=self._serve, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            # An empty datagram: the socket was shut down.
            while True:
                question, sender = self._socket.recvfrom(4096)
                if not question:
                    return
                self._socket.sendto(self._answer(question), sender)

    def _answer(self, question: bytes) -> bytes:
        name, kind, end = _parsed(question)
        known = self.names.get(name)
        packed = [] if known is None else [a.packed for a in self._addresses(name, known, kind)]
        header = struct.pack(
            "!2s5H", question[:2], _UNKNOWN if known is None else _FOUND, 1, len(packed), 0, 0
        )
        records = b"".join(
            struct.pack("!3HIH", _POINTER_TO_QUESTION, kind, _IN, 0, len(data)) + data
            for data in packed
        )
        return header + question[12:end] + records

    def _addresses(
        self, name: str, answers: list[Sequence[str]], kind: int
    ) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        version = {_A: 4, _AAAA: 6}.get(kind)
        parsed = [[ipaddress.ip_address(text) for text in answer] for answer in answers]
        if not any(address.version == version for answer in parsed for address in answer):
            return []
        self.asked[name] += 1
        current = parsed[min(self.asked[name], len(parsed)) - 1]
        return [address for address in current if address.version == version]


def _parsed(question: bytes) -> tuple[str, int, int]:
    """Return the name and the type in a query, and the offset of its end."""
    labels, position = [], 12
    while length := question[position]:
        labels.append(question[position + 1 : position + 1 + length].decode())
        position += 1 + length
    (kind,) = struct.unpack("!H", question[position + 1 : position + 3])
    return ".".join(labels).lower(), kind, position + 5
