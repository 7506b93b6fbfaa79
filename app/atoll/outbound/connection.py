"""HTTP connections to a pinned address, limited in time and size, directly or through a proxy.

`http.client` reads and writes through `LimitedSocket`, which applies the limits to each byte: a
peer that sends single bytes slowly, or endless headers, cannot block the caller beyond the limits.
"""

from __future__ import annotations

import http.client
import io
import select
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from urllib3.util.ssltransport import SSLTransport

from atoll.config.hosts import Address
from atoll.outbound.destination import Destination
from atoll.outbound.proxies import Proxy

# The number of a host's addresses that are tried.
_ADDRESSES_MAXIMUM = 4


class _Stream(Protocol):
    """The part of the interface of sockets and TLS streams that LimitedSocket uses."""

    def settimeout(self, value: float | None, /) -> None: ...

    def send(self, data: Any, /) -> Any: ...

    def recv_into(self, buffer: Any, /) -> Any: ...


class TooLarge(Exception):
    """A peer sent more bytes than permitted."""


class TlsHandshakeFailed(Exception):
    """The TLS handshake failed."""

    def __init__(self, cause: ssl.SSLError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class ProxyRefused(OSError):
    """The proxy did not open a connection to the destination."""


@dataclass(frozen=True)
class Limits:
    """The limits of one request.

    Attributes:
        connect: Seconds to connect to one address.
        idle: Seconds without progress.
        total: Seconds for the request, including redirects and name resolution; None for no limit.
        slowest: Bytes per second below which a transfer counts as stalled, on average over
            `idle` seconds of waiting; 0 for no limit.
        header_bytes: The size of all headers of a response, in bytes.
        redirects: The number of redirects that are followed.
    """

    connect: float = 5.0
    idle: float = 10.0
    total: float | None = 15.0
    header_bytes: int = 65_536
    redirects: int = 5
    slowest: float = 0.0


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

    def __init__(self, connected: _Stream, deadline: Deadline, limits: Limits) -> None:
        self._socket = connected
        self._limits = limits
        self.restart(deadline)

    def restart(self, deadline: Deadline) -> None:
        """Apply the limits to the next request on the same connection."""
        self._deadline = deadline
        self._left: int | None = self._limits.header_bytes
        self._waited = 0.0
        self._received = 0

    def set_deadline(self, deadline: Deadline) -> None:
        """Replace the deadline of the current request."""
        self._deadline = deadline

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
        started = time.monotonic()
        count = int(self._socket.recv_into(buffer) or 0)
        self._check_speed(time.monotonic() - started, count)
        if self._left is not None:
            self._left -= count
            if self._left < 0:
                raise TooLarge("the response is too large")
        return count

    def _check_speed(self, seconds: float, count: int) -> None:
        """Detect a peer that sends single bytes, from the time spent waiting for it."""
        self._waited += seconds
        self._received += count
        if self._waited >= self._limits.idle:
            if self._received < self._limits.slowest * self._waited:
                raise TimeoutError("the transfer is too slow")
            self._waited, self._received = 0.0, 0

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

    TLS verifies the certificate against the host of the URL. Through a proxy, the addresses are
    those of the proxy; `https` uses a tunnel (CONNECT) through it.
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
        *,
        proxy: Proxy | None = None,
    ) -> None:
        super().__init__(destination.host, destination.port)
        self._destination = destination
        self._peer = proxy.destination if proxy else destination
        self._proxy = proxy
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
            ProxyRefused: The proxy did not open a connection to the destination.
            TlsHandshakeFailed: The TLS handshake failed.
        """
        self._raw = self._connect_to_any()
        if self._peer.scheme == "https":
            self._raw = self._handshake(self._raw, self._peer.host)
        stream: _Stream = self._raw
        if self._proxy is not None and self._destination.scheme == "https":
            self._open_tunnel(self._raw, self._proxy)
            stream = self._handshake_in_tunnel(self._raw)
        self.limited = LimitedSocket(stream, self._deadline, self._limits)
        self.sock = self.limited

    def send_request(self, method: str, headers: Mapping[str, str], body: bytes | None) -> None:
        """Send a request for the destination's target.

        Args:
            method: The method.
            headers: The headers, besides those of the connection.
            body: The body.
        """
        own = {"Host": self._destination.host_header, "User-Agent": "atoll"}
        target = self._destination.target
        if self._proxy is not None and self._destination.scheme == "http":
            target = self._destination.url
            if self._proxy.authorization:
                own["Proxy-Authorization"] = self._proxy.authorization
        self.request(method, target, body, {**own, **headers})

    def begin(self, destination: Destination, deadline: Deadline) -> None:
        """Prepare an open connection for the next request, to the same origin."""
        self._destination = destination
        self._deadline = deadline
        if self.limited is not None:
            self.limited.restart(deadline)

    @property
    def is_stale(self) -> bool:
        """Whether an idle connection was closed by the peer, or received unexpected bytes."""
        if self._raw is None or self.sock is None:
            return True
        poll = select.poll()
        try:
            poll.register(self._raw, select.POLLIN)
            return bool(poll.poll(0))
        except (OSError, ValueError):
            return True

    def disconnect(self) -> None:
        """Close the socket, even if the response was not read."""
        if self._raw is not None:
            self._raw.close()

    def shut_down(self) -> None:
        """End the connection, so that a thread that waits for it fails at once. Thread-safe."""
        if self._raw is not None:
            with suppress(OSError):
                # A TLS socket would forget its encryption, and return encrypted bytes.
                socket.socket.shutdown(self._raw, socket.SHUT_RDWR)

    def _handshake(self, raw: socket.socket, host: str) -> socket.socket:
        wrapped = self._tls.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)
        # The socket now belongs to the wrapper.
        self._raw = wrapped
        wrapped.settimeout(self._deadline.within(self._limits.connect))
        try:
            wrapped.do_handshake()
        except ssl.SSLError as error:
            raise TlsHandshakeFailed(error) from error
        return wrapped

    def _handshake_in_tunnel(self, stream: socket.socket) -> _Stream:
        """Start TLS with the destination; inside of TLS with the proxy if the proxy uses it."""
        if not isinstance(stream, ssl.SSLSocket):
            return self._handshake(stream, self._destination.host)
        stream.settimeout(self._deadline.within(self._limits.connect))
        try:
            return SSLTransport(stream, self._tls, server_hostname=self._destination.host)
        except ssl.SSLError as error:
            raise TlsHandshakeFailed(error) from error

    def _open_tunnel(self, stream: socket.socket, proxy: Proxy) -> None:
        host = self._destination.host
        authority = f"[{host}]" if ":" in host else host
        authority = f"{authority}:{self._destination.port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", "User-Agent: atoll"]
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        limited = LimitedSocket(stream, self._deadline, self._limits)
        limited.sendall("\r\n".join([*lines, "", ""]).encode())
        response = http.client.HTTPResponse(limited, method="CONNECT")  # type: ignore[arg-type]
        response.begin()
        if response.status != http.client.OK:
            raise ProxyRefused(
                f"the proxy '{proxy.destination.host}' responded with status {response.status}"
            )

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
            connected.connect((str(address), self._peer.port))
        except BaseException:
            connected.close()
            raise
        return connected
