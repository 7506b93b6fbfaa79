"""Transfer an object's bytes to and from S3 with little overhead.

A request by botocore's client takes more than a millisecond of Python, which limits how fast small
blobs are copied. This module sends signed requests with urllib3 and covers the plain case only: if
the answer is not a success, or no answer of an S3 service, its methods return None and the caller
repeats the request with botocore's client, which handles redirects, retries and errors.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    ProxyError,
    ReadTimeoutError,
)

from atoll.storage.errors import InvalidStoreResponse
from atoll.storage.multipart import FileRange, FileSlice
from atoll.storage.proof import Content, exactly, require_range
from atoll.storage.s3.file_sending import FileSendingPool

log = logging.getLogger(__name__)

_READ_PIECE = 256 * 1024
# Bytes of a file that are sent between two reports of progress.
_SENT_PIECE = 1024 * 1024
_SUCCESS = frozenset({200, 206})
# The bucket has another region or host, or wants another signature: later requests fail likewise.
_UNUSABLE = frozenset({301, 307, 308, 400})
# Answers of stores that want a SHA-256 of the body in the signature. Others have the same reasons.
_WANTS_HASH = frozenset({400, 403, 501})
_UNHASHED, _EMPTY = "UNSIGNED-PAYLOAD", hashlib.sha256().hexdigest()


class DirectTransfer:
    """Reads and writes objects of one store; safe for any thread.

    Args:
        location: the store's location.
        base_url: the URL below which its objects are.
        region: the region to sign for.
        credentials: returns the current credentials, None if there are none.
        ca_bundle: a file of CA certificates, None for those that botocore uses.
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
        self._location = location
        self._base_url = base_url.rstrip("/")
        self._region = region
        self._credentials = credentials
        self._usable = True
        # Over plain HTTP, the signed Content-MD5 protects the body as well, in half the time.
        self._hashes_bodies = False
        self._pool = _pool_manager(base_url, ca_bundle, timeout, connections)
        # The kernel cannot encrypt what it sends, and a connection to a proxy may use TLS.
        self._sends_files = urlsplit(base_url).scheme == "http" and self._pool.proxy is None

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
            length = require_range(self._location, answer.status, content_range, start, end)
        except InvalidStoreResponse:
            answer.close()
            return None
        return exactly(self._location, _pieces(answer), length)

    def put(self, path: str, query: dict[str, str], content: Content) -> Mapping[str, str] | None:
        """Write an object, or a part of a multipart upload.

        The signature includes the MD5 of the content, which the store compares. A file is sent
        without waiting for `100 Continue`; a store that refuses it is asked again by other means.

        Args:
            path: the object's path below the base URL.
            query: the parameters of the URL.
            content: the bytes, or a file.

        Returns:
            The headers of the answer, with lower-case names; None if it has no ETag.
        """
        encoded = "&".join(f"{name}={quote(query[name], safe='-_.~')}" for name in sorted(query))
        headers = {
            "content-length": str(content.size),
            "content-md5": base64.b64encode(bytes.fromhex(content.md5)).decode(),
        }
        answer = self._send("PUT", path, encoded, headers, content)
        if answer is None or not answer.headers.get("ETag"):
            return None
        return {name.lower(): value for name, value in answer.headers.items()}

    def _send(
        self,
        method: str,
        path: str,
        query: str,
        headers: dict[str, str],
        content: Content | None,
    ) -> urllib3.BaseHTTPResponse | None:
        """Send a signed request, and return the answer if it is a success."""
        credentials = self._credentials() if self._usable else None
        if credentials is None:
            return None
        target = quote(f"/{path}", safe="/-_.~")
        url = f"{self._base_url}{target}" + (f"?{query}" if query else "")
        hashed = self._hashes_bodies
        try:
            answer = self._pool.urlopen(
                method,
                url,
                headers=self._signed(method, url, headers, content, credentials),
                body=None if content is None else self._body(content),
                redirect=False,
                # The answer to a PUT is short, and read at once to free its connection.
                preload_content=content is not None,
                decode_content=False,
            )
        except (ConnectTimeoutError, ReadTimeoutError, ProxyError):
            # Without a connection, botocore's client would fail as well, after repetitions. For
            # urllib3, a refused connection and an unknown host are kinds of ConnectTimeoutError.
            raise
        except HTTPError as error:
            log.debug("request repeated", extra={"cause": type(error).__name__})
            return None
        if answer.status in _SUCCESS:
            return answer
        damaged = content is not None and b"BadDigest" in answer.data
        answer.close()
        if damaged:
            return None
        if content is not None and not hashed and answer.status in _WANTS_HASH:
            self._hashes_bodies = True
        elif answer.status in _UNUSABLE:
            self._usable = False
        return None

    def _body(self, content: Content) -> Iterator[bytes | memoryview | FileRange]:
        if self._sends_files and isinstance(content.body, FileSlice):
            content.rewind()
            return content.body.ranges(_SENT_PIECE)
        return content.pieces(_READ_PIECE)

    def _signed(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        content: Content | None,
        credentials: ReadOnlyCredentials,
    ) -> dict[str, str]:
        """Return `headers` with a signature, which includes the body's SHA-256 if necessary."""
        request = AWSRequest(method=method, url=url, headers=headers)
        payload = _EMPTY
        if content is not None:
            payload = content.sha256 if self._hashes_bodies else _UNHASHED
        _Signature(credentials, self._region, payload).add_auth(request)
        return dict(request.headers.items())


class _Signature(S3SigV4Auth):
    """The signature of a request whose body is not read for it."""

    def __init__(self, credentials: ReadOnlyCredentials, region: str, payload: str) -> None:
        super().__init__(credentials, "s3", region)
        self._payload = payload

    def payload(self, request: AWSRequest) -> str:
        """Return the SHA-256 of the body, or what stands for it."""
        del request
        return self._payload


def _pool_manager(
    url: str, ca_bundle: str | None, timeout: tuple[int, int], connections: int
) -> urllib3.PoolManager:
    """Return a pool of connections, through the proxy that botocore's client would use."""
    connect, read = timeout
    options: dict[str, Any] = {
        "num_pools": 1,
        "maxsize": connections,
        "timeout": urllib3.Timeout(connect=connect, read=read),
        "retries": False,
        "ssl_context": _tls_context(ca_bundle) if urlsplit(url).scheme == "https" else None,
    }
    proxies = ProxyConfiguration(get_environ_proxies(url))
    proxy = proxies.proxy_url_for(url)
    if proxy:
        headers = proxies.proxy_headers_for(proxy)
        return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
    pool = urllib3.PoolManager(**options)
    pool.pool_classes_by_scheme = {**pool.pool_classes_by_scheme, "http": FileSendingPool}
    return pool


def _tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Return a context for all connections.

    The certificates are loaded once: loading them into a context that is in use crashes the
    process (boto/botocore issue 3164).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=ca_bundle or get_cert_path(True))
    return context


def _pieces(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    with closing(answer):
        yield from answer.stream(_READ_PIECE, decode_content=False)
