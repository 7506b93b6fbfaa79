"""Receive request bodies into the spool, and refuse them early where possible.

waitress passes a request to the application only after it has received the whole body, in a
temporary file if it is large. Here a body is refused as soon as the headers are complete, if the
server's policy does not admit it or if the spool has no room for it. Otherwise unauthenticated
clients could fill the disk, and a full disk would close connections without a response.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable
from functools import partial
from socket import SHUT_WR
from typing import TYPE_CHECKING, Any, cast

import falcon
from waitress.adjustments import Adjustments
from waitress.buffers import OverflowableBuffer, TempfileBasedBuffer
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import WSGITask
from waitress.utilities import Error

from atoll.registry.body_hashes import BodyHashes
from atoll.web.errors import ERROR_CODES, PUBLIC_UNAVAILABLE, RETRY_AFTER, envelope
from atoll.web.event_loop import EventLoop

if TYPE_CHECKING:
    from typing_extensions import Buffer

log = logging.getLogger(__name__)

# The fraction of the spool's disk that stays free: twice the threshold of the health check, so
# that a site with a full spool stays healthy and other programs can still write to that disk.
_RESERVE = 0.02
# Bytes of a body that are received between two checks of the spool's room.
_UNCHECKED = 2**20
_LOGGED_PATH = 512

# The statuses of refusals. nginx has a location for each, `@refused_401` for example.
REFUSALS = sorted({one.status for one in ERROR_CODES.values()} | {500})


class Refused(Exception, Error):
    """A response that is sent instead of receiving a request's body.

    nginx announces a persistent connection to the client, although it closes connections with an
    unread body. The next request on such a connection would get no response. So if a part of the
    body is unread, the headers name a location of nginx that sends the same response with
    `Connection: close`.

    Args:
        status: the status line without the protocol, such as `401 Unauthorized`.
        headers: the response's headers.
        document: the response's JSON.

    Attributes:
        body_is_unread: whether a part of the body was not received.
    """

    def __init__(self, status: str, headers: dict[str, str], document: Any) -> None:
        super().__init__(status)
        self.status = status
        self._headers = {"Content-Type": "application/json", **headers}
        self._document = document
        self.body_is_unread = False
        code, _, self.reason = status.partition(" ")
        self.code = int(code)

    # The stubs declare the body as text; waitress writes bytes.
    def to_response(  # type: ignore[override]
        self, ident: str | None = None
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        """Return status, headers and body."""
        del ident
        headers, body = dict(self._headers), json.dumps(self._document)
        if self.body_is_unread and self.code in REFUSALS:
            headers |= {"X-Accel-Redirect": f"@refused_{self.code}", "X-Refusal": body}
        return self.status, list(headers.items()), body.encode()


class SpoolFull(Refused):
    """The spool has no room for a body at the moment."""

    def __init__(self) -> None:
        super().__init__(
            falcon.HTTP_503,
            {"Retry-After": RETRY_AFTER},
            envelope("UNAVAILABLE", PUBLIC_UNAVAILABLE),
        )


class BodyTooLong(Refused):
    """A body exceeds the maximum size for its request.

    Args:
        limit: the maximum in bytes.
    """

    def __init__(self, limit: int) -> None:
        message = f"the body of this request may have at most {limit} bytes"
        super().__init__(falcon.HTTP_413, {}, envelope("SIZE_INVALID", message))


# Returns the number of bytes that a request's body may have, from its headers alone. It runs in the
# server's only I/O thread, so it must not wait for anything. Raises Refused.
Admission = Callable[[HTTPRequestParser], int]


def admit_up_to(limit: int) -> Admission:
    """Return a policy that admits bodies up to a size in bytes, without authentication."""
    return lambda _request: limit


# Returns hashes to compute while a body is received, by its announced size in bytes, or 0.
MakeHashes = Callable[[int], BodyHashes]
# The key of the WSGI environment that has these hashes.
HASHES = "atoll.body_hashes"


class _SpoolFile(TempfileBasedBuffer):
    """A temporary file whose end is written to without a seek and a search for the end."""

    def append(self, data: Buffer) -> None:
        """Add received bytes. Nothing is read before the body is complete."""
        descriptor, end, left = self.file.fileno(), self.remain, memoryview(data)
        while left:
            written = os.pwrite(descriptor, left, end)
            left, end = left[written:], end + written
        self.remain = end


class _HashedBuffer(OverflowableBuffer):
    """A buffer for a body that is hashed while it is received."""

    def __init__(self, overflow: int, hashes: BodyHashes) -> None:
        super().__init__(overflow)
        self._hashes = hashes

    def append(self, data: bytes) -> None:
        """Add received bytes."""
        super().append(data)
        self._hashes.feed(data)

    def _set_large_buffer(self) -> None:
        # The stubs declare neither the buffers of waitress nor their files.
        small: Any = self.buf
        large: Any = _SpoolFile(small)
        # What was in memory is in the buffer of Python's file.
        large.file.flush()
        self.buf = large
        self.overflowed = True
        if small is not None:
            small.close()


class SpooledRequest(HTTPRequestParser):
    """A request whose body is written to the spool if it is admitted and while there is room."""

    def __init__(
        self, adj: Adjustments, *, admit: Admission, make_hashes: MakeHashes | None = None
    ) -> None:
        super().__init__(adj)
        self._admit = admit
        self._make_hashes = make_hashes
        self._limit: int | None = None
        # The number of received bytes at which the room in the spool is checked again.
        self._checked_at = 0
        self.hashes: BodyHashes | None = None

    def received(self, data: bytes) -> int:
        """Parse received bytes. A refused request is complete immediately, with an error."""
        consumed = 0
        try:
            consumed = int(super().received(data))
            if self.body_rcv is not None and self.error is None:
                self._check_body()
        except OSError as error:
            log.error(
                "spool write failed",
                extra={"cause": error.strerror or type(error).__name__, "path": self._logged_path},
            )
            return self._refuse(data, consumed, SpoolFull())
        except Refused as refused:
            log.info("body refused", extra={"status": refused.code, "path": self._logged_path})
            return self._refuse(data, consumed, refused)
        return consumed

    def _check_body(self) -> None:
        """Raise Refused if the body is not admitted, too long, or exceeds the room in the spool."""
        if self._limit is None:
            self._limit = self._admit(self)
            self._hash_large_body()
        if self._size > self._limit:
            raise BodyTooLong(self._limit)
        if self._lacks_room():
            raise SpoolFull

    def _hash_large_body(self) -> None:
        """Hash a body that may be large. None of it has been received yet."""
        if self._make_hashes is None or 0 < self.content_length <= self.adj.inbuf_overflow:
            return
        self.hashes = self._make_hashes(self.content_length)
        receiver: Any = self.body_rcv
        receiver.buf = _HashedBuffer(self.adj.inbuf_overflow, self.hashes)

    def _lacks_room(self) -> bool:
        # Small bodies stay in memory, so small requests are served even if the disk is full.
        if self._size <= self.adj.inbuf_overflow or self.body_bytes_received < self._checked_at:
            return False
        self._checked_at = self.body_bytes_received + _UNCHECKED
        disk = os.statvfs(tempfile.gettempdir())
        room = disk.f_bavail * disk.f_frsize - disk.f_blocks * disk.f_frsize * _RESERVE
        return bool(self.content_length - self.body_bytes_received > room or room < 0)

    @property
    def _size(self) -> int:
        """The announced size of the body or, without one, the size of its part in the buffer."""
        # The number of bytes received includes the framing of a chunked body.
        stored = 0 if self.body_rcv is None else int(self.body_rcv.__len__())
        return self.content_length or stored

    def _refuse(self, data: bytes, consumed: int, response: Refused) -> int:
        # Frees the received part of the body.
        self.close()
        received = self.body_bytes_received + len(data) - consumed
        # The end of a chunked body is not searched for in bytes that are discarded.
        is_complete = self.completed or (not self.chunked and received >= self.content_length)
        response.body_is_unread = not is_complete
        self.error = response
        self.completed = True
        self.expect_continue = False
        return len(data)

    @property
    def _logged_path(self) -> str:
        return str(getattr(self, "path", ""))[:_LOGGED_PATH]


class JoinedTask(WSGITask):
    """A request whose response is sent at once, if the application returns it in one piece.

    It passes the hashes of the body to the application.
    """

    def write(self, data: bytes) -> None:
        """Send a piece of the response, the first one together with the headers."""
        if self.wrote_header or not self.complete or self.content_length != len(data):
            super().write(data)
            return
        head = self.build_response_header()
        self.wrote_header = True
        if self.has_body and not self.chunked_response:
            self.content_bytes_written += len(data)
            self.channel.write_soon(head + data)
            return
        self.channel.write_soon(head)
        super().write(data)

    def get_environment(self) -> dict[str, Any]:
        """Return the WSGI environment."""
        environment: dict[str, Any] = super().get_environment()
        environment[HASHES] = cast(SpooledRequest, self.request).hashes
        return environment


class SpoolingChannel(HTTPChannel):
    """A connection from nginx that may still be sending a body when the request is refused.

    If such a connection were closed at once, nginx would fail to send before it reads the response,
    and report a bad gateway to the client. So only the sending direction is closed after the
    response, and the rest of the body is discarded until nginx closes the connection.
    """

    # Replaced for each server by `spooling_channel`.
    parser_class: Any = None
    task_class = JoinedTask
    loop: Any = None
    _refuses = False
    _lingers = False

    def __init__(self, server: Any, *arguments: Any, **options: Any) -> None:
        """Accept a connection; the loop learns of its changes without being woken."""
        view: Any = _ServerOfChannel(server, partial(self.loop.update, self))
        super().__init__(view, *arguments, **options)

    def service(self) -> None:
        """Serve one request."""
        self._refuses = isinstance(self.requests[0].error, Refused)
        super().service()

    def handle_write(self) -> None:
        """Send pending output. After a refusal only the sending direction is closed."""
        refused = self._refuses and self.close_when_flushed
        if refused:
            self.close_when_flushed = False
        super().handle_write()
        if refused and self.connected:
            if self.total_outbufs_len:
                self.close_when_flushed = True
            else:
                self._linger()

    def _linger(self) -> None:
        self._lingers = True
        if self.socket is not None:
            self.socket.shutdown(SHUT_WR)

    def readable(self) -> bool:
        """Return whether to read from the connection."""
        return self._lingers or bool(super().readable())

    def handle_read(self) -> None:
        """Read from the connection; discard data that follows a refusal."""
        if self._lingers:
            self.recv(self.adj.recv_bytes)
        else:
            super().handle_read()

    def handle_close(self) -> None:
        """Free the connection's buffers, and a body that was not received completely."""
        super().handle_close()
        # A server thread references this object until it serves another connection.
        if self.request is not None:
            self.request.close()


class _ServerOfChannel:
    """What a channel uses of its server. It wakes the loop only for itself."""

    def __init__(self, server: Any, pull_trigger: Callable[[], None]) -> None:
        self.application = server.application
        self.adj = server.adj
        self.active_channels = server.active_channels
        self.server_name = server.server_name
        self.effective_port = server.effective_port
        self.add_task = server.add_task
        self.pull_trigger = pull_trigger


def spooling_channel(
    admit: Admission, loop: EventLoop, make_hashes: MakeHashes | None = None
) -> type[SpoolingChannel]:
    """Return the channel class of a server.

    Args:
        admit: the policy for request bodies.
        loop: the loop of the server.
        make_hashes: returns hashes to compute while a large body is received.
    """
    parser = partial(SpooledRequest, admit=admit, make_hashes=make_hashes)
    return type("AdmittingChannel", (SpoolingChannel,), {"parser_class": parser, "loop": loop})
