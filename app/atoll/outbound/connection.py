"""HTTP connections to a pinned address, limited in time and size.

`http.client` reads and writes through `LimitedSocket`, so that the limits hold for each byte: a
peer that sends one now and then, or headers without end, cannot hold the caller any longer.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.config.hosts import Address
from atoll.outbound.destination import Destination

# Addresses of one host that are tried.
_ADDRESSES_MAXIMUM = 4


class TooLarge(Exception):
    """A peer sent more bytes than allowed."""


@dataclass(frozen=True)
class Limits:
    """Limits of one request, in seconds and bytes.

    Attributes:
        connect: seconds to connect to one address.
        idle: seconds without a byte from the peer.
        total: seconds for everything, redirects and name resolution included; None: no limit.
        header_bytes: size of all headers of a response.
        redirects: redirects that are followed.
    """

    connect: float = 5.0
    idle: float = 10.0
    total: float | None = 15.0
    header_bytes: int = 65_536
    redirects: int = 5


class Deadline:
    """A moment after which nothing is waited for any more."""

    def __init__(
        self, seconds: float | None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._end = None if seconds is None else monotonic() + seconds

    def within(self, seconds: float) -> float:
        """Return how long to wait, SECONDS at most. Raises TimeoutError if the time is over."""
        if self._end is None:
            return seconds
        left = self._end - self._monotonic()
        if left <= 0:
            raise TimeoutError("the time for the request is over")
        return min(left, seconds)


class LimitedSocket:
    """The part of a socket's interface that `http.client` uses, with limits."""

    def __init__(self, connected: socket.socket, deadline: Deadline, limits: Limits) -> None:
        self._socket = connected
        self._deadline = deadline
        self._limits = limits
        self._left: int | None = limits.header_bytes

    def allow(self, size: int | None) -> None:
        """Accept SIZE more bytes from the peer; None: any number."""
        self._left = size

    def sendall(self, data: bytes) -> None:
        """Send DATA."""
        rest = memoryview(data)
        while rest:
            self._socket.settimeout(self._deadline.within(self._limits.idle))
            rest = rest[self._socket.send(rest) :]

    def receive_into(self, buffer: Any) -> int:
        """Receive bytes into BUFFER and return their number; 0 at the end."""
        self._socket.settimeout(self._deadline.within(self._limits.idle))
        count = self._socket.recv_into(buffer)
        if self._left is not None:
            self._left -= count
            if self._left < 0:
                raise TooLarge("it sent too much")
        return count

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a file to read from."""
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Do nothing: `http.client` closes a connection before it has read the body."""


class _Reader(io.RawIOBase):
    def __init__(self, source: LimitedSocket) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._source.receive_into(buffer)


class PinnedConnection(http.client.HTTPConnection):
    """A connection to one of ADDRESSES, which were judged; nothing is resolved again.

    TLS verifies the certificate against the host of the URL.
    """

    # Without an open socket a request must fail, not open another one.
    auto_open = 0

    def __init__(
        self,
        destination: Destination,
        addresses: Sequence[Address],
        tls: ssl.SSLContext,
        deadline: Deadline,
        limits: Limits,
    ) -> None:
        super().__init__(destination.host, destination.port)
        self._destination = destination
        self._addresses = addresses[:_ADDRESSES_MAXIMUM]
        self._tls = tls
        self._deadline = deadline
        self._limits = limits
        self._raw: socket.socket | None = None
        self.limited: LimitedSocket | None = None

    def connect(self) -> None:
        """Connect. Raises OSError of the last address that was tried."""
        self._raw = self._connect_to_any()
        if self._destination.scheme == "https":
            self._raw = self._tls.wrap_socket(
                self._raw, server_hostname=self._destination.host, do_handshake_on_connect=False
            )
            self._raw.settimeout(self._deadline.within(self._limits.connect))
            self._raw.do_handshake()
        self.limited = LimitedSocket(self._raw, self._deadline, self._limits)
        self.sock = self.limited

    def disconnect(self) -> None:
        """Close the socket, whatever was read."""
        if self._raw is not None:
            self._raw.close()

    def _connect_to_any(self) -> socket.socket:
        failure: OSError = OSError("no address")
        for address in self._addresses:
            try:
                return self._connect_to(address)
            except OSError as error:
                failure = error
        raise failure

    def _connect_to(self, address: Address) -> socket.socket:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            connected.settimeout(self._deadline.within(self._limits.connect))
            connected.connect((str(address), self._destination.port))
        except BaseException:
            connected.close()
            raise
        return connected
