"""HTTP connections to a pinned address, limited in time and size.

`http.client` reads and writes through `LimitedSocket`, which applies the limits to each byte: a
peer that sends single bytes slowly, or endless headers, cannot block the caller beyond the limits.
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

# The number of a host's addresses that are tried.
_ADDRESSES_MAXIMUM = 4


class TooLarge(Exception):
    """A peer sent more bytes than permitted."""


@dataclass(frozen=True)
class Limits:
    """The limits of one request.

    Attributes:
        connect: Seconds to connect to one address.
        idle: Seconds without progress.
        total: Seconds for the request, including redirects and name resolution; None for no limit.
        header_bytes: The size of all headers of a response, in bytes.
        redirects: The number of redirects that are followed.
    """

    connect: float = 5.0
    idle: float = 10.0
    total: float | None = 15.0
    header_bytes: int = 65_536
    redirects: int = 5


class Deadline:
    """The end of the time for a request."""

    def __init__(
        self, seconds: float | None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._end = None if seconds is None else monotonic() + seconds

    def within(self, seconds: float) -> float:
        """Return the time-out for one operation, at most `seconds`.

        Raises:
            TimeoutError: The deadline has passed.
        """
        if self._end is None:
            return seconds
        left = self._end - self._monotonic()
        if left <= 0:
            raise TimeoutError("the request timed out")
        return min(left, seconds)


class LimitedSocket:
    """The part of a socket's interface that `http.client` uses, with limits."""

    def __init__(self, connected: socket.socket, deadline: Deadline, limits: Limits) -> None:
        self._socket = connected
        self._deadline = deadline
        self._limits = limits
        self._left: int | None = limits.header_bytes

    def allow(self, size: int | None) -> None:
        """Permit `size` more bytes from the peer; None for no limit."""
        self._left = size

    def sendall(self, data: bytes) -> None:
        """Send all bytes of `data`."""
        rest = memoryview(data)
        while rest:
            self._socket.settimeout(self._deadline.within(self._limits.idle))
            rest = rest[self._socket.send(rest) :]

    def receive_into(self, buffer: Any) -> int:
        """Receive bytes into a buffer and return their number; 0 at the end of the stream."""
        self._socket.settimeout(self._deadline.within(self._limits.idle))
        count = self._socket.recv_into(buffer)
        if self._left is not None:
            self._left -= count
            if self._left < 0:
                raise TooLarge("the response is too large")
        return count

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a file for reading."""
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
    """A connection to one of the addresses that the policy permitted, without another lookup.

    TLS verifies the certificate against the host of the URL.
    """

    # A request on a closed connection must fail instead of opening a new socket.
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
        """Connect to the first address that accepts the connection.

        Raises:
            OSError: No address accepted the connection; the error is that of the last one.
        """
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
        """Close the socket, even if the response was not read."""
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
