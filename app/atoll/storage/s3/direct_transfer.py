"""Transfer an object's bytes to and from S3 with little overhead.

A request by botocore's client takes more than a millisecond of Python, which limits how fast small
blobs are copied. This module covers the plain case only: if the answer is not a success, or no
answer of an S3 service, its methods return None and the caller repeats the request with botocore's
client, which handles redirects, retries and errors.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ConnectTimeoutError, HTTPClientError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from botocore.response import StreamingBody
from botocore.utils import get_environ_proxies

from atoll.storage.errors import StoreMisbehaves
from atoll.storage.proof import exactly, require_range
from atoll.storage.s3.signature import UNSIGNED, Request, Signer
from atoll.storage.s3.tls import load_certificates_once

log = logging.getLogger(__name__)

_READ_PIECE = 256 * 1024
_SUCCESS = frozenset({200, 206})
# The bucket has another region or host, or wants another signature: later requests fail likewise.
_NEVER = frozenset({301, 307, 308, 400})


class DirectTransfer:
    """Reads and writes objects of one store; safe for any thread.

    Args:
        location: the store's location.
        base_url: the URL below which its objects are.
        region: the region to sign for.
        credentials: returns the current credentials, None if there are none.
        ca_bundle: a file of CA certificates, None for the default ones.
        timeout: seconds to wait for a connection, and for progress.
        connections: the number of connections that are kept open.
    """

    def __init__(
        self,
        location: str,
        base_url: str,
        region: str,
        credentials: Callable[[], ReadOnlyCredentials | None],
        *,
        ca_bundle: str | None,
        timeout: tuple[int, int],
        connections: int,
    ) -> None:
        base = urlsplit(base_url)
        self._secure = base.scheme == "https"
        self._address = f"{base.scheme}://{base.netloc}"
        self._host = base.netloc
        self._location = location
        self._root = base.path.rstrip("/")
        self._signer = Signer(region)
        self._credentials = credentials
        self._usable = True
        # The published types are narrower than what botocore itself passes.
        arguments: dict[str, Any] = {
            "verify": ca_bundle or True,
            "proxies": get_environ_proxies(base_url),
            "timeout": timeout,
            "max_pool_connections": connections,
            "socket_options": [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        }
        self._session = URLLib3Session(**arguments)
        load_certificates_once(self._session)

    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes] | None:
        """Return the pieces of an object, or None if it has to be requested by other means.

        Args:
            path: the object's path below the base URL.
            start: the first byte.
            end: the byte after the last one, None for all. If the answer to a range is not that
                range, the result is None.
        """
        ranged = bool(start) or end is not None
        headers = {}
        if ranged:
            headers["range"] = f"bytes={start}-{'' if end is None else end - 1}"
        answer = self._send("GET", path, "", headers, None)
        if answer is None or not ranged:
            return None if answer is None else _pieces(answer)
        content_range = answer.headers.get("content-range")
        try:
            length = require_range(self._location, answer.status_code, content_range, start, end)
        except StoreMisbehaves:
            answer.raw.close()
            return None
        return exactly(self._location, _pieces(answer), length)

    def put(
        self, path: str, query: dict[str, str], body: bytes | memoryview, md5: str
    ) -> Mapping[str, str] | None:
        """Write an object, or a part of a multipart upload.

        Args:
            path: the object's path below the base URL.
            query: the parameters of the URL.
            body: the bytes.
            md5: their MD5 in hexadecimal, which the store compares.

        Returns:
            The headers of the answer, with lower-case names; None if it has no ETag.
        """
        written = "&".join(f"{name}={quote(query[name], safe='-_.~')}" for name in sorted(query))
        headers = {
            "content-length": str(len(body)),
            "content-md5": base64.b64encode(bytes.fromhex(md5)).decode(),
        }
        answer = self._send("PUT", path, written, headers, body)
        if answer is None or not answer.headers.get("ETag"):
            return None
        return {name.lower(): value for name, value in answer.headers.items()}

    def _send(
        self,
        method: str,
        path: str,
        query: str,
        headers: dict[str, str],
        body: bytes | memoryview | None,
    ) -> AWSResponse | None:
        credentials = self._credentials() if self._usable else None
        if credentials is None:
            return None
        target = self._root + quote(f"/{path}", safe="/-_.~")
        unsigned = self._secure or body is None
        payload = UNSIGNED if unsigned else hashlib.sha256(body or b"").hexdigest()
        headers |= self._signer.headers(
            Request(method, self._host, target, query, payload),
            credentials,
            datetime.datetime.now(datetime.UTC),
        )
        url = f"{self._address}{target}" + (f"?{query}" if query else "")
        # The answer to a PUT is short, and read at once to free its connection.
        prepared: Any = (method, url, headers, body, body is None)
        try:
            answer: AWSResponse = self._session.send(AWSPreparedRequest(*prepared))
        except (ConnectTimeoutError, ReadTimeoutError):
            raise
        except HTTPClientError as error:
            log.debug("request repeated", extra={"cause": type(error).__name__})
            return None
        if answer.status_code in _SUCCESS:
            return answer
        answer.raw.close()
        if answer.status_code in _NEVER and not _is_damaged(answer, body):
            self._usable = False
        return None


def _pieces(answer: AWSResponse) -> Iterator[bytes]:
    length: Any = answer.headers.get("content-length")
    with closing(StreamingBody(answer.raw, length)) as body:
        yield from body.iter_chunks(_READ_PIECE)


def _is_damaged(answer: AWSResponse, body: bytes | memoryview | None) -> bool:
    """Return whether the store refused the body because it arrived with another MD5."""
    return body is not None and b"BadDigest" in answer.content
