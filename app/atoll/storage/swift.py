"""The driver for OpenStack's Swift by its own protocol.

What is written in parts becomes a static large object: its parts stay where they are, in
`segments/<upload>/`, and go when it is deleted or replaced.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit
from uuid import UUID, uuid4

from keystoneclient.exceptions import Unauthorized
from requests.exceptions import RequestException
from swiftclient.client import Connection
from swiftclient.exceptions import ClientException
from swiftclient.utils import generate_temp_url
from urllib3.exceptions import HTTPError

from atoll.config.stores import SwiftSettings
from atoll.storage.errors import ObjectMissing, StoreFull, StoreRefused, StoreUnavailable
from atoll.storage.interface import Body, StoredObject
from atoll.storage.no_answer import unavailable
from atoll.storage.observed import Observe, ObservedStore, nobody

# Seconds of silence; a probe is given up early, but not while it logs in.
_TIMEOUT = 10
_PROBE_TIMEOUT = 2
_FIRST_PAUSE = 0.2
_CONNECTIONS = 32
_READ_PIECE = 256 * 1024
_PROBE_KEY = "_verify"
_SEGMENTS = "segments"

_MISSING = 404
_BEYOND_THE_END = 416
_REFUSED = frozenset({401, 403})
# The second is what a quota of the account or the container is answered with.
_FULL = frozenset({507, 413})


class SwiftObjectStore(ObservedStore):
    """One container."""

    # A manifest of Swift's names a thousand segments, unless its operator allows more.
    parts_maximum = 900

    def __init__(
        self,
        location: str,
        settings: SwiftSettings,
        *,
        ca_bundle: str | None = None,
        observe: Observe = nobody,
    ) -> None:
        super().__init__(location, observe)
        self._settings = settings
        self._container = settings.swift_container
        self._connections = _Connections(settings, ca_bundle, _TIMEOUT, retries=1)
        # The client would resume a range at the wrong place.
        self._readers = _Connections(settings, ca_bundle, _TIMEOUT, retries=0)
        self._prober = _Connections(settings, ca_bundle, _PROBE_TIMEOUT, retries=0)
        self._storage_url: str | None = None

    def put(self, key: str, body: Body, size: int) -> None:
        """Write one object with one request."""
        with self._writing(key) as connection:
            connection.put_object(
                self._container, self._path(key), contents=_again(body), content_length=size
            )

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the object's bytes, or a range of them."""
        if end is not None and end <= start:
            return
        headers = {}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        with self._answers(key), self._readers.one() as connection:
            try:
                answer, body = connection.get_object(
                    self._container, self._path(key), resp_chunk_size=_READ_PIECE, headers=headers
                )
            except ClientException as error:
                if error.http_status == _BEYOND_THE_END:
                    return
                raise
            remaining = int(answer["content-length"])
            for piece in body:
                remaining -= len(piece)
                yield piece
            if remaining:
                raise StoreUnavailable(self.location, f"{remaining} bytes of an answer are missing")

    def size(self, key: str) -> int:
        """Ask for the object's size."""
        with self._answers(key), self._connections.one() as connection:
            return int(connection.head_object(self._container, self._path(key))["content-length"])

    def delete(self, key: str) -> None:
        """Delete one object and the segments that it consists of."""
        with self._answers(key), self._connections.one() as connection:
            segments = self._segments(connection, key)
            self._delete(connection, self._path(key))
            for segment in segments:
                self._delete(connection, segment)

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below PREFIX; Swift sorts them."""
        marker = ""
        with self._answers(prefix), self._connections.one() as connection:
            while True:
                _, rows = connection.get_container(
                    self._container, prefix=self._path(prefix), marker=marker
                )
                if not rows:
                    return
                for row in rows:
                    key = row["name"][len(self._path("")) :]
                    modified_at = datetime.fromisoformat(row["last_modified"]).replace(tzinfo=UTC)
                    yield StoredObject(key, row["bytes"], modified_at)
                marker = rows[-1]["name"]

    def presigned_url(self, key: str, seconds: int) -> str | None:
        """Sign a GET with the account's or container's key for temporary URLs, where there is one.

        No request is made but the first time, for the address that signed paths begin with.
        """
        if self._settings.temp_url_key is None:
            return None
        if self._storage_url is None:
            with self._answers(key), self._connections.one() as connection:
                self._storage_url = connection.get_auth()[0].rstrip("/")
        base = urlsplit(self._storage_url)
        signed = generate_temp_url(
            f"{base.path}/{self._container}/{self._path(key)}",
            seconds,
            self._settings.temp_url_key.get_secret_value(),
            "GET",
            digest="sha256",
        )
        path, _, query = signed.rpartition("?")
        return f"{base.scheme}://{base.netloc}{quote(path)}?{query}"

    def begin_parts(self, key: str) -> str:
        """Choose where the segments go; no request is made."""
        del key
        return str(uuid4())

    def put_part(self, key: str, upload_id: str, number: int, body: Body, size: int) -> str:
        """Write one segment, and return its name and what the manifest has to say of it."""
        name = f"{self._folder(upload_id)}{number:09d}"
        with self._answers(key, write=True), self._connections.one() as connection:
            etag = connection.put_object(
                self._container, name, contents=_again(body), content_length=size
            )
        return json.dumps(
            {"path": f"/{self._container}/{name}", "etag": etag, "size_bytes": size},
            separators=(",", ":"),
        )

    def finish_parts(self, key: str, upload_id: str, tags: list[str]) -> None:
        """Write the manifest; Swift looks at each segment before it accepts it."""
        del upload_id
        manifest = f"[{','.join(tags)}]".encode()
        with self._writing(key) as connection:
            connection.put_object(
                self._container,
                self._path(key),
                contents=_again(manifest),
                query_string="multipart-manifest=put",
            )

    def abort_parts(self, key: str, upload_id: str) -> None:
        """Delete the segments that are there."""
        with self._answers(key), self._connections.one() as connection:
            for segment in self._listed(connection, self._folder(upload_id)):
                self._delete(connection, segment)

    def probe(self, *, write: bool) -> None:
        """Ask for the container or, with WRITE, put a small object."""
        # Not observed: whoever probes draws the conclusions.
        with self._translated(_PROBE_KEY), self._prober.one() as connection:
            if write:
                # A string is what may be sent again without retries: after a new login.
                connection.put_object(self._container, self._path(_PROBE_KEY), contents="ok")
            else:
                try:
                    connection.head_container(self._container)
                except ClientException as error:
                    if error.http_status == _MISSING:
                        raise self._no_container() from error
                    raise

    def _path(self, key: str) -> str:
        return self._settings.root + key

    def _folder(self, upload_id: str) -> str:
        # Whatever is no id of ours raises ValueError here, before it is a path.
        return self._path(f"{_SEGMENTS}/{UUID(upload_id)}/")

    @contextmanager
    def _writing(self, key: str) -> Iterator[Connection]:
        """Give a connection that writes KEY, and delete the segments of what was there before."""
        with self._answers(key, write=True), self._connections.one() as connection:
            replaced = self._segments(connection, key)
            try:
                yield connection
            except ClientException as error:
                if error.http_status == _MISSING:
                    raise self._no_container() from error
                raise
            for segment in replaced:
                self._delete(connection, segment)

    def _segments(self, connection: Connection, key: str) -> list[str]:
        """Return the objects that KEY consists of, besides itself; none for a plain object."""
        path = self._path(key)
        try:
            headers = connection.head_object(self._container, path)
        except ClientException as error:
            if error.http_status == _MISSING:
                return []
            raise
        if headers.get("x-static-large-object", "").lower() == "true":
            _, manifest = connection.get_object(
                self._container, path, query_string="multipart-manifest=get"
            )
            return [row["name"].split("/", 2)[2] for row in json.loads(manifest)]
        # What Quay wrote in parts names only how its segments begin.
        container, _, prefix = headers.get("x-object-manifest", "").partition("/")
        if container == self._container and prefix:
            return self._listed(connection, prefix)
        return []

    def _listed(self, connection: Connection, prefix: str) -> list[str]:
        _, rows = connection.get_container(self._container, prefix=prefix, full_listing=True)
        return [row["name"] for row in rows]

    def _delete(self, connection: Connection, path: str) -> None:
        try:
            connection.delete_object(self._container, path)
        except ClientException as error:
            if error.http_status != _MISSING:
                raise

    def _no_container(self) -> StoreUnavailable:
        return StoreUnavailable(self.location, "its container does not exist")

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except ClientException as error:
            if error.http_status == _MISSING:
                raise ObjectMissing(self.location, key) from error
            status = error.http_status or None
            cause = f"it answered {status}" if status else f"it gave no session: {error.msg}"
            # What Keystone answered to a login comes without its number.
            if isinstance(error.__context__, Unauthorized):
                raise StoreRefused(self.location, cause) from error
            raise _unavailable(status)(self.location, cause) from error
        except (RequestException, HTTPError, OSError) as error:
            raise unavailable(self.location, error) from error


def _unavailable(status: int | None) -> type[StoreUnavailable]:
    if status in _FULL:
        return StoreFull
    return StoreRefused if status in _REFUSED else StoreUnavailable


def _again(body: Body) -> BinaryIO:
    """Return BODY as the client wants what it may have to send twice."""
    return io.BytesIO(body) if isinstance(body, bytes | memoryview) else body


class _Connection(Connection):  # type: ignore[misc] # it has no types
    """One that waits for a login as long as anybody does, however little it has for the store.

    To check a password is work, and who does that may not be what is probed.
    """

    timeout: float

    def get_auth(self) -> tuple[str, str]:
        patience, self.timeout = self.timeout, _TIMEOUT
        try:
            address, token = super().get_auth()
        finally:
            self.timeout = patience
        return address, token


class _Connections:
    """Connections that nobody uses now: one serves one thread at a time, and each has a login."""

    def __init__(
        self, settings: SwiftSettings, ca_bundle: str | None, timeout: int, *, retries: int
    ) -> None:
        password = settings.swift_password.get_secret_value()
        self._arguments: dict[str, Any] = {
            "authurl": settings.auth_url,
            "user": settings.swift_user,
            "key": password,
            "auth_version": str(settings.auth_version),
            "os_options": dict(settings.os_options),
            "cacert": settings.ca_cert_path or ca_bundle,
            "retry_on_ratelimit": settings.retry_on_ratelimit,
            "timeout": timeout,
            "retries": retries,
            "starting_backoff": _FIRST_PAUSE,
        }
        self._lock = threading.Lock()
        self._idle: list[Connection] = []

    @contextmanager
    def one(self) -> Iterator[Connection]:
        """Give a connection; one that something went wrong with is not used again."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or _Connection(**self._arguments)
        try:
            yield connection
        except ClientException as error:
            # An answer was read to its end; anything else may have left half of one behind.
            if error.http_status:
                self._give_back(connection)
            else:
                connection.close()
            raise
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if len(self._idle) < _CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()
