"""Many requests to one server: connections stay open, and may go through a proxy.

Each new connection is made to an address that the policy permitted, as in `atoll.outbound.client`.
With a proxy, the name is resolved by the proxy; the policy then checks literal addresses, names
that are known to be internal, and the address of the proxy itself.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from atoll.outbound.connection import Deadline, Limits, PinnedConnection
from atoll.outbound.destination import Destination, parse
from atoll.outbound.errors import DestinationRefused, RequestFailed, TooManyRedirects
from atoll.outbound.policy import DestinationPolicy
from atoll.outbound.proxies import Proxies, Proxy
from atoll.outbound.redirects import REDIRECTS, headers_after, redirected
from atoll.outbound.resolver import Resolver
from atoll.outbound.response import Response, failures

# The limits of requests whose response is a document, and of the headers of all others.
SESSION_LIMITS = Limits(connect=10, idle=30, total=60, slowest=1024)
# Seconds after which an idle connection is closed; many servers close theirs after 60.
_IDLE_SECONDS = 30.0
# Bytes of a body without interest that are read so that the connection can be used again.
_DRAINED = 65_536


class _Idle(NamedTuple):
    connection: PinnedConnection
    since: float


class OutboundSession:
    """Sends GET and HEAD requests over connections that it keeps open; thread-safe."""

    def __init__(
        self,
        policy: DestinationPolicy,
        tls: ssl.SSLContext,
        resolver: Resolver,
        *,
        limits: Limits = SESSION_LIMITS,
        proxies: Proxies | None = None,
        idle_connections: int = 8,
        secure: bool = True,
    ) -> None:
        """Make a session.

        Args:
            policy: Decides about every destination.
            tls: The settings for `https`.
            resolver: Resolves host names.
            limits: The limits of a request.
            proxies: The proxies; None to connect directly.
            idle_connections: The maximum number of open connections without a request.
            secure: Whether redirects from `https` to `http` are refused.
        """
        self._policy = policy
        self._tls = tls
        self._resolver = resolver
        self._limits = limits
        self._proxies = proxies or Proxies()
        self._idle_connections = idle_connections
        self._secure = secure
        self._lock = threading.Lock()
        self._idle: deque[tuple[tuple[str, str, int], _Idle]] = deque()

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, deque()
        for _origin, one in idle:
            one.connection.disconnect()

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        streaming: bool = False,
    ) -> Iterator[Response]:
        """Send a request, and follow redirects that the policy permits.

        Credentials in `headers` are sent to the origin of the URL only.

        Args:
            method: GET or HEAD.
            url: The URL.
            headers: The headers.
            streaming: Whether the body may take any time, as long as it makes progress.

        Raises:
            OutboundError: The request could not be sent, or there was no response in time.
        """
        destination = parse(url)
        kept = dict(headers or {})
        deadline = Deadline(self._limits.total)
        for _ in range(self._limits.redirects + 1):
            with self._exchange(method, destination, kept, deadline) as (response, connection):
                location = response.headers.get("Location")
                if response.status not in REDIRECTS or not location:
                    if streaming and connection.limited is not None:
                        connection.limited.set_deadline(Deadline(None))
                    yield response
                    return
                _drain(response)
            following = self._redirected(destination, location)
            kept = headers_after(destination, following, kept)
            destination = following
        raise TooManyRedirects(f"too many redirects from '{destination.host}'")

    def _redirected(self, destination: Destination, location: str) -> Destination:
        following = redirected(self._policy, destination, location)
        if self._secure and destination.scheme == "https" and following.scheme == "http":
            raise DestinationRefused(f"redirect of '{destination.host}' to plain HTTP refused")
        return following

    @contextmanager
    def _exchange(
        self, method: str, destination: Destination, headers: Mapping[str, str], deadline: Deadline
    ) -> Iterator[tuple[Response, PinnedConnection]]:
        """Send one request and yield its response; keep the connection if its body was read."""
        self._policy.check(destination)
        connection, received = self._send(method, destination, headers, deadline)
        response = Response(destination, connection, received)
        try:
            if method == "HEAD":
                received.read()
            yield response, connection
            if not response.is_complete:
                _drain(response)
        finally:
            if response.is_complete:
                self._keep(destination, connection)
            else:
                connection.disconnect()

    def _send(
        self, method: str, destination: Destination, headers: Mapping[str, str], deadline: Deadline
    ) -> tuple[PinnedConnection, http.client.HTTPResponse]:
        """Send a request on an idle connection, or on a new one if there is none that works."""
        while (connection := self._take(destination)) is not None:
            connection.begin(destination, deadline)
            try:
                connection.send_request(method, headers, None)
                return connection, connection.getresponse()
            except (ConnectionError, http.client.RemoteDisconnected, ssl.SSLError):
                # The server closed it while it was idle. Requests have no side effects.
                connection.disconnect()
            except BaseException as error:
                connection.disconnect()
                with failures(destination):
                    raise error
        connection = self._new_connection(destination, deadline)
        try:
            with failures(destination):
                connection.connect()
                connection.send_request(method, headers, None)
                return connection, connection.getresponse()
        except BaseException:
            connection.disconnect()
            raise

    def _new_connection(self, destination: Destination, deadline: Deadline) -> PinnedConnection:
        proxy = self._proxies.find(destination)
        peer = destination if proxy is None else proxy.destination
        if proxy is not None:
            self._check_proxied(destination, proxy)
        with failures(destination):
            seconds = deadline.within(self._limits.connect)
        addresses = self._resolver.resolve(peer.host, seconds)
        if proxy is None or not proxy.trusted:
            self._policy.check_addresses(peer.host, addresses)
        return PinnedConnection(
            destination, addresses, self._tls, deadline, self._limits, proxy=proxy
        )

    def _check_proxied(self, destination: Destination, proxy: Proxy) -> None:
        self._policy.check_unresolved(destination.host)
        if not proxy.trusted:
            self._policy.check(proxy.destination)

    def _take(self, destination: Destination) -> PinnedConnection | None:
        """Return an idle connection to the same origin, and close those that are too old."""
        oldest = time.monotonic() - _IDLE_SECONDS
        closed, found = [], None
        with self._lock:
            kept: deque[tuple[tuple[str, str, int], _Idle]] = deque()
            while self._idle:
                origin, one = self._idle.pop()
                if one.since < oldest:
                    closed.append(one.connection)
                elif found is None and origin == destination.origin:
                    if one.connection.is_stale:
                        closed.append(one.connection)
                    else:
                        found = one.connection
                else:
                    kept.appendleft((origin, one))
            self._idle = kept
        for connection in closed:
            connection.disconnect()
        return found

    def _keep(self, destination: Destination, connection: PinnedConnection) -> None:
        closed = None
        with self._lock:
            if len(self._idle) >= self._idle_connections:
                closed = self._idle.popleft()[1].connection
            self._idle.append((destination.origin, _Idle(connection, time.monotonic())))
        if closed is not None:
            closed.disconnect()


def _drain(response: Response) -> None:
    """Read a short rest of the body; a longer one closes the connection instead."""
    try:
        response.read(_DRAINED)
    except RequestFailed:
        # The connection is not used again.
        return
