"""The driver for OpenStack Swift.

A multipart upload becomes a static large object: its segments stay in `segments/<upload>/` and are
deleted when the object is deleted or replaced.
"""

from __future__ import annotations

import hashlib
import io
import json
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
from atoll.storage.base import Body, StoredObject
from atoll.storage.client_errors import unavailable
from atoll.storage.errors import (
    InvalidStoreResponse,
    ObjectChanged,
    ObjectMissing,
    OutcomeUnknown,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
    WriteNotProven,
)
from atoll.storage.observed_store import Observe, ObservedStore, ignore_outcome
from atoll.storage.probe import READ_MAXIMUM
from atoll.storage.proof import Content, exactly, is_md5, plain, require_md5, require_range
from atoll.storage.swift_connections import TIMEOUT, SwiftConnections
from atoll.storage.timeouts import assembly_seconds

# Seconds without progress, after the log-in.
_PROBE_TIMEOUT = 2
_READ_PIECE = 256 * 1024
_SEGMENTS = "segments"

_MISSING = 404
_CHANGED = 412
_SERVER_ERROR = 500
_BEYOND_THE_END = 416
_REFUSED = frozenset({401, 403})
# 413 is the answer if a quota of the account or the container is exceeded.
_FULL = frozenset({507, 413})


class SwiftObjectStore(ObservedStore):
    """One container and path."""

    # A manifest may name a thousand segments, unless the service's operator allows more.
    parts_maximum = 900

    def __init__(
        self,
        location: str,
        settings: SwiftSettings,
        *,
        ca_bundle: str | None = None,
        observe: Observe = ignore_outcome,
    ) -> None:
        super().__init__(location, observe)
        self._settings = settings
        self._container = settings.swift_container
        self._connections = SwiftConnections(settings, ca_bundle, TIMEOUT, retries=1)
        # Without retries: the client would resume a range at the wrong position.
        self._readers = SwiftConnections(settings, ca_bundle, TIMEOUT, retries=0)
        self._prober = SwiftConnections(settings, ca_bundle, _PROBE_TIMEOUT, retries=0)
        self._ca_bundle = ca_bundle
        # By time-out in seconds, for requests that take longer.
        self._slow_connections: dict[int, SwiftConnections] = {}
        self._storage_url: str | None = None

    def put(self, key: str, body: Body, size: int) -> None:
        """Write one object with one request."""
        with self._writing(key) as connection:
            self._put(connection, self._path(key), Content(body, size))

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the object's bytes, or a range of them."""
        if end is not None and end <= start:
            return
        headers = {}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        response: dict[str, Any] = {}
        with self._answers(key), self._readers.one() as connection:
            try:
                answer, body = connection.get_object(
                    self._container,
                    self._path(key),
                    resp_chunk_size=_READ_PIECE,
                    headers=headers,
                    response_dict=response,
                )
            except ClientException as error:
                if error.http_status == _BEYOND_THE_END:
                    return
                raise
            length = int(self._field(answer, "content-length"))
            if headers:
                content_range = answer.get("content-range")
                length = require_range(self.location, response["status"], content_range, start, end)
            yield from exactly(self.location, body, length)

    def size(self, key: str) -> int:
        """Return the object's size."""
        with self._answers(key), self._connections.one() as connection:
            answer = connection.head_object(self._container, self._path(key))
            return int(self._field(answer, "content-length"))

    def delete(self, key: str) -> None:
        """Delete one object and its segments."""
        with self._writes(key, store=False), self._connections.one() as connection:
            segments = self._segments(connection, key)
            self._delete(connection, self._path(key))
            for segment in segments:
                self._delete(connection, segment)

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below a prefix, in the order of Swift."""
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
        """Sign a GET with the key for temporary URLs, if there is one.

        Only the first call makes a request, for the service's address.
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
        """Choose the path of the segments, without a request."""
        del key
        return str(uuid4())

    def put_part(self, key: str, upload_id: str, number: int, body: Body, size: int) -> str:
        """Write one segment, and return its entry of the manifest."""
        name = f"{self._folder(upload_id)}{number:09d}"
        with self._writes(key), self._connections.one() as connection:
            etag = self._put(connection, name, Content(body, size))
        return json.dumps(
            {"path": f"/{self._container}/{name}", "etag": etag, "size_bytes": size},
            separators=(",", ":"),
        )

    def finish_parts(self, key: str, upload_id: str, tags: list[str], size: int) -> None:
        """Write the manifest, whose segments Swift verifies.

        If there is no answer, the object is checked.
        """
        del upload_id
        manifest = f"[{','.join(tags)}]".encode()
        with self._writing(key, self._connections_for(size)) as connection:
            try:
                etag = connection.put_object(
                    self._container,
                    self._path(key),
                    contents=_as_file(manifest),
                    query_string="multipart-manifest=put",
                )
            except (ClientException, RequestException, HTTPError, OSError) as error:
                status = getattr(error, "http_status", 0)
                if status and status < _SERVER_ERROR:
                    raise
                if not self._is_made(key, tags, size):
                    cause = f"it answered {status}" if status else type(error).__name__
                    raise OutcomeUnknown(self.location, cause) from error
                return
            if not plain(etag or ""):
                raise WriteNotProven(self.location, "it accepted a manifest without an ETag")

    def _is_made(self, key: str, tags: list[str], size: int) -> bool:
        """Return whether the object exists with the entries of the manifest."""
        etags = "".join(json.loads(tag)["etag"] for tag in tags)
        expected = hashlib.md5(etags.encode(), usedforsecurity=False).hexdigest()
        try:
            with self._connections.one() as connection:
                found = connection.head_object(self._container, self._path(key))
        except (ClientException, RequestException, HTTPError, OSError):
            return False
        return plain(found.get("etag", "")) == expected and found.get("content-length") == str(size)

    def _connections_for(self, size: int) -> SwiftConnections:
        """Return connections with a time-out that suits an object of `size` bytes."""
        seconds = assembly_seconds(size)
        if seconds <= TIMEOUT:
            return self._connections
        made = SwiftConnections(self._settings, self._ca_bundle, seconds, retries=0)
        return self._slow_connections.setdefault(seconds, made)

    def abort_parts(self, key: str, upload_id: str) -> None:
        """Delete the segments of an upload."""
        with self._answers(key), self._connections.one() as connection:
            for segment in self._listed(connection, self._folder(upload_id)):
                self._delete(connection, segment)

    def name_of(self, key: str) -> str:
        """Return the name in the container."""
        return self._path(key)

    def _check_bucket(self) -> None:
        with self._prober.one() as connection:
            try:
                connection.head_container(self._container)
            except ClientException as error:
                raise self._no_container_if_missing(error) from error

    def _read_small(self, key: str) -> bytes:
        with self._prober.one() as connection:
            # Without a range, all of a larger object would be read to keep the connection.
            headers = {"Range": f"bytes=0-{READ_MAXIMUM - 1}"}
            _, data = connection.get_object(self._container, self._path(key), headers=headers)
            return bytes(data)

    def _write_small(self, key: str, data: bytes, *, new: bool) -> None:
        with self._prober.one() as connection:
            try:
                # The client sends only a string again after a new log-in without retries.
                etag = connection.put_object(
                    self._container,
                    self._path(key),
                    contents=data.decode(),
                    headers={"If-None-Match": "*"} if new else None,
                )
            except ClientException as error:
                if error.http_status == _CHANGED:
                    raise ObjectChanged(self.location, key) from error
                raise self._no_container_if_missing(error) from error
            require_md5(self.location, etag or "", Content(data, len(data)), {})

    def _no_container_if_missing(self, error: ClientException) -> Exception:
        return self._no_container() if error.http_status == _MISSING else error

    def _put(self, connection: Connection, path: str, content: Content) -> str:
        """Write one object and return its ETag, which is its MD5.

        Raises:
            WriteNotProven: the ETag is not the MD5 of the content.
        """
        # The store compares the MD5 of bytes in memory. That of a file is not known before.
        small = isinstance(content.body, bytes | memoryview)
        etag = connection.put_object(
            self._container,
            path,
            contents=_as_file(content.body),
            content_length=content.size,
            etag=content.md5 if small else None,
        )
        if not is_md5(etag or ""):
            raise WriteNotProven(self.location, "it reported an object as written without its MD5")
        require_md5(self.location, etag, content, {})
        return plain(etag)

    def _field(self, answer: dict[str, str], name: str) -> str:
        if name not in answer:
            raise InvalidStoreResponse(self.location, f"its answer has no {name}")
        return answer[name]

    def _path(self, key: str) -> str:
        return self._settings.root + key

    def _folder(self, upload_id: str) -> str:
        # An invalid id raises ValueError before it becomes a path.
        return self._path(f"{_SEGMENTS}/{UUID(upload_id)}/")

    @contextmanager
    def _writing(
        self, key: str, connections: SwiftConnections | None = None
    ) -> Iterator[Connection]:
        """Lend a connection to write an object, then delete the segments of the replaced one."""
        with self._writes(key), (connections or self._connections).one() as connection:
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
        """Return the segments of an object; none if it is not a large object."""
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
        # Large objects of Quay name only the prefix of their segments.
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
            # The status of Keystone's answer to a log-in is not in the exception.
            if isinstance(error.__context__, Unauthorized):
                raise StoreRefused(self.location, cause) from error
            raise _unavailable(status)(self.location, cause) from error
        except (RequestException, HTTPError, OSError) as error:
            raise unavailable(self.location, error) from error
        except json.JSONDecodeError as error:
            cause = "it answered with a page that is no list"
            raise InvalidStoreResponse(self.location, cause) from error


def _unavailable(status: int | None) -> type[StoreUnavailable]:
    if status in _FULL:
        return StoreFull
    return StoreRefused if status in _REFUSED else StoreUnavailable


def _as_file(body: Body) -> BinaryIO:
    """Return a body as a file, which the client can send again."""
    return io.BytesIO(body) if isinstance(body, bytes | memoryview) else body
