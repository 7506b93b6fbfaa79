"""Receive bodies into the spool, and refuse in time what it has no room for.

waitress writes a body to a file as it comes and lets the application have it when all is there. A
full disk is nothing that waitress expects: it would end the connection, and say nothing.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from socket import SHUT_WR
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.utilities import Error

from atoll.web.errors import PUBLIC_UNAVAILABLE, RETRY_AFTER, envelope

log = logging.getLogger(__name__)

# The fraction of the spool's disk that stays free: twice what the health check asks for, so that
# a site whose spool is full is still well, and who else writes to that disk is not stopped.
_RESERVE = 0.02


class SpoolFull(Error):
    """There is no room for a body now; later there is."""

    code = 503
    reason = "Service Unavailable"

    # The stubs say that the body is text; waitress writes bytes.
    def to_response(  # type: ignore[override]
        self, ident: str | None = None
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        """Return status, headers and body, as `atoll.web.errors` would write them."""
        del ident
        body = json.dumps(envelope("UNAVAILABLE", PUBLIC_UNAVAILABLE)).encode()
        headers = [("Content-Type", "application/json"), ("Retry-After", RETRY_AFTER)]
        return f"{self.code} {self.reason}", headers, body


class SpooledRequest(HTTPRequestParser):
    """A request whose body goes to the spool, as long as that has room."""

    def received(self, data: bytes) -> int:
        """Take DATA; a request that finds no room is complete at once, with an error."""
        try:
            consumed = super().received(data)
        except OSError as error:
            return self._refuse(data, error.strerror or type(error).__name__)
        if self.error is None and self._lacks_room():
            return self._refuse(data, "it is as good as full")
        return consumed

    def _lacks_room(self) -> bool:
        """Tell whether the rest of the body is more than the spool can take."""
        # Small bodies stay in memory, so small requests are served however full the disk is.
        size = max(self.content_length, self.body_bytes_received)
        if self.body_rcv is None or size <= self.adj.inbuf_overflow:
            return False
        disk = os.statvfs(tempfile.gettempdir())
        room = disk.f_bavail * disk.f_frsize - disk.f_blocks * disk.f_frsize * _RESERVE
        return bool(self.content_length - self.body_bytes_received > room or room < 0)

    def _refuse(self, data: bytes, cause: str) -> int:
        log.error(
            "the spool has no room for a body",
            extra={"cause": cause, "path": getattr(self, "path", "")},
        )
        # What came so far is in nobody's way any more.
        self.close()
        self.error = SpoolFull(cause)
        self.completed = True
        return len(data)


class SpoolingChannel(HTTPChannel):
    """A connection of nginx', which is still sending a body when that is refused.

    If such a connection were closed at once, nginx would fail to send before it reads the answer,
    and tell the client of a bad gateway. So the answer goes out, and the rest of the body is
    thrown away until nginx, which has read the answer, ends the connection.
    """

    parser_class: Any = SpooledRequest
    _refuses = False
    _lingers = False

    def service(self) -> None:
        """Answer one request."""
        self._refuses = isinstance(self.requests[0].error, SpoolFull)
        super().service()

    def handle_write(self) -> None:
        """Send what is to be sent; after a refusal only the sending ends."""
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
        """Tell whether to read on."""
        return self._lingers or bool(super().readable())

    def handle_read(self) -> None:
        """Read on; what follows a refusal is nobody's."""
        if self._lingers:
            self.recv(self.adj.recv_bytes)
        else:
            super().handle_read()

    def handle_close(self) -> None:
        """Give up what the connection held, and a body that will never be whole."""
        super().handle_close()
        # The thread that served the request before keeps this object until it serves another's.
        if self.request is not None:
            self.request.close()
