"""Single HTTP requests to Clair, limited in time and size. Nothing is retried."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from atoll.scanning.clair.errors import (
    InvalidScannerResponse,
    ScannerTimedOut,
    ScannerUnavailable,
)

# A name may have two addresses, and a user who waits for a report is served within two seconds.
CONNECT_SECONDS = 0.9
# Bytes of a decompressed body; the reports of large, old images have 5 MB.
BODY_MAXIMUM = 32 * 2**20
_ERROR_BODY_MAXIMUM = 64 * 2**10
_PIECE = 64 * 2**10


@dataclass(frozen=True)
class ClairResponse:
    """A response.

    Attributes:
        status: The status.
        etag: The ETag without quotes; None if there is none.
        body: The decompressed body; of an error, its beginning.
    """

    status: int
    etag: str | None
    body: bytes


class ClairHttp:
    """Sends requests over connections that it keeps open; thread-safe."""

    def __init__(
        self,
        ca_bundle: str | None = None,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a session.

        Args:
            ca_bundle: A file of CA certificates; None to use those of the system.
            connect_seconds: The longest time to connect to one address.
            monotonic: The clock, in seconds.
        """
        self._connect_seconds = connect_seconds
        self._monotonic = monotonic
        self._pools = urllib3.PoolManager(
            num_pools=16, maxsize=16, ssl_context=ssl.create_default_context(cafile=ca_bundle)
        )

    def close(self) -> None:
        """Close the idle connections."""
        self._pools.clear()

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        seconds: float,
    ) -> ClairResponse:
        """Send a request and read its response, whatever its status. Redirects are not followed.

        Args:
            method: The method.
            url: The URL.
            headers: The headers.
            body: The body, if any.
            seconds: The longest time without progress, and until the body is complete.

        Raises:
            ScannerTimedOut: The server did not respond in time.
            ScannerUnavailable: There is no connection, or it broke.
            InvalidScannerResponse: The body is too large.
        """
        ends = self._monotonic() + self._connect_seconds + seconds
        try:
            response = self._pools.request(
                method,
                url,
                body=body,
                headers={"Accept-Encoding": "gzip", **headers},
                timeout=urllib3.Timeout(connect=self._connect_seconds, read=seconds),
                preload_content=False,
                redirect=False,
                retries=False,
            )
        except (HTTPError, OSError) as error:
            raise _unavailable(error) from None
        try:
            found = self._read(response, ends)
        except BaseException:
            # The rest of the body must not be read as the response to the next request.
            response.close()
            raise
        response.release_conn()
        return found

    def _read(self, response: urllib3.BaseHTTPResponse, ends: float) -> ClairResponse:
        is_error = response.status >= http.client.BAD_REQUEST
        pieces: list[bytes] = []
        size = 0
        try:
            for piece in response.stream(_PIECE, decode_content=True):
                pieces.append(piece)
                size += len(piece)
                if is_error and size >= _ERROR_BODY_MAXIMUM:
                    response.close()
                    break
                if size > BODY_MAXIMUM:
                    raise InvalidScannerResponse(f"the body exceeds {BODY_MAXIMUM} bytes")
                if self._monotonic() > ends:
                    raise ScannerTimedOut("the response was not complete in time")
        except (HTTPError, OSError) as error:
            # Clair cuts the body of status 429. What was read of an error is sufficient.
            if not is_error:
                raise _unavailable(error) from None
            response.close()
        etag = response.headers.get("ETag")
        return ClairResponse(
            response.status,
            etag.removeprefix("W/").strip('"') if etag else None,
            b"".join(pieces)[: _ERROR_BODY_MAXIMUM if is_error else None],
        )


def _unavailable(error: Exception) -> ScannerUnavailable:
    """Return the error for a request without a complete response; the cause names the address."""
    if isinstance(error, NameResolutionError):
        return ScannerUnavailable("the name of the server cannot be resolved")
    if isinstance(error, NewConnectionError):
        return ScannerUnavailable("no connection")
    if isinstance(error, ConnectTimeoutError):
        return ScannerUnavailable("no connection in time")
    if isinstance(error, (ReadTimeoutError, TimeoutError)):
        return ScannerTimedOut("no response in time")
    if isinstance(error, (SSLError, ssl.SSLError)):
        return ScannerUnavailable("no TLS connection: the certificate or protocol is not accepted")
    return ScannerUnavailable(f"the connection broke ({type(error).__name__})")
