"""Move an object's bytes to and from S3 with little around it.

botocore takes more than a millisecond of Python for a request and hashes what it sends; that is
what limits copying small blobs. This does the plain case only: whatever does not succeed is told as
None, and the caller asks botocore, which knows redirects, retries and what an error means.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ConnectTimeoutError, HTTPClientError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from botocore.response import StreamingBody
from botocore.utils import get_environ_proxies

from atoll.storage.s3_certificates import load_certificates_once
from atoll.storage.s3_signature import UNSIGNED, Request, Signer

log = logging.getLogger(__name__)

_READ_PIECE = 256 * 1024
_SUCCESS = frozenset({200, 206})
# Another region, another host or another way to sign: it will not do better the next time.
_NEVER = frozenset({301, 307, 308, 400})


class DirectTransfer:
    """Gets and puts objects below BASE_URL; safe for any thread.

    CREDENTIALS returns what to sign with now, or None if there is nothing.
    """

    def __init__(
        self,
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
        """Return the pieces of the object at PATH from START up to END, or None."""
        headers = {}
        if start or end is not None:
            headers["range"] = f"bytes={start}-{'' if end is None else end - 1}"
        answer = self._send("GET", path, "", headers, None)
        return None if answer is None else _pieces(answer)

    def put(self, path: str, query: dict[str, str], body: bytes | memoryview) -> str | None:
        """Write BODY to PATH, or as the part that QUERY names, and return its ETag, or None."""
        written = "&".join(f"{name}={quote(query[name], safe='-_.~')}" for name in sorted(query))
        answer = self._send("PUT", path, written, {"content-length": str(len(body))}, body)
        return None if answer is None else str(answer.headers.get("ETag", ""))

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
        # What a PUT answers is short, and read at once, so that its connection is free again.
        prepared: Any = (method, url, headers, body, body is None)
        try:
            answer: AWSResponse = self._session.send(AWSPreparedRequest(*prepared))
        except (ConnectTimeoutError, ReadTimeoutError):
            raise
        except HTTPClientError as error:
            log.debug("asking again", extra={"cause": type(error).__name__})
            return None
        if answer.status_code in _SUCCESS:
            return answer
        answer.raw.close()
        if answer.status_code in _NEVER:
            self._usable = False
        return None


def _pieces(answer: AWSResponse) -> Iterator[bytes]:
    length: Any = answer.headers.get("content-length")
    with closing(StreamingBody(answer.raw, length)) as body:
        yield from body.iter_chunks(_READ_PIECE)
