"""The driver for Azure Blob Storage.

A multipart upload is completed under a key of its own and copied within the account. Otherwise two
writers of one blob would discard each other's parts, and abandoned parts could not be deleted.
"""

from __future__ import annotations

import base64
import datetime
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO
from uuid import uuid4

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.blob import (
    BlobBlock,
    BlobClient,
    BlobSasPermissions,
    ContainerClient,
    generate_blob_sas,
)

from atoll.config.stores import AzureSettings
from atoll.storage.base import Body, StoredObject
from atoll.storage.client_errors import unavailable
from atoll.storage.errors import (
    ObjectChanged,
    ObjectMissing,
    OutcomeUnknown,
    StoreRefused,
    StoreUnavailable,
    WriteNotProven,
)
from atoll.storage.observed_store import Observe, ObservedStore, ignore_outcome
from atoll.storage.probe import READ_MAXIMUM
from atoll.storage.proof import Content, require_md5, require_range
from atoll.storage.timeouts import assembly_seconds

# Seconds without progress. A probe has less time.
_CONNECT_TIMEOUT = 2
_READ_TIMEOUT = 10
_PROBE_TIMEOUT = 2
_COPY_TIMEOUT = 600
_COPY_POLL = 0.2
# The maximum that one request reads and writes, in bytes.
_READ_PIECE = 4 * 2**20
_WRITE_MAXIMUM = 64 * 2**20
_MISSING_CONTAINER = "ContainerNotFound"
_BEYOND_THE_END = 416
_SUCCESS = frozenset({200, 206})
_REFUSED = frozenset({401, 403})


class AzureObjectStore(ObservedStore):
    """One container and path."""

    def __init__(
        self,
        location: str,
        settings: AzureSettings,
        *,
        ca_bundle: str | None = None,
        observe: Observe = ignore_outcome,
    ) -> None:
        super().__init__(location, observe)
        self._settings = settings
        self._prefix = settings.storage_path.strip("/")
        self._container = _container(settings, ca_bundle, _READ_TIMEOUT, retries=1)
        self._prober = _container(settings, ca_bundle, _PROBE_TIMEOUT, retries=0)

    def put(self, key: str, body: Body, size: int) -> None:
        """Write one object."""
        with self._writes(key):
            content = Content(body, size)
            answer = self._blob(key).upload_blob(
                _whole(body), length=size, overwrite=True, validate_content=_in_memory(body)
            )
            self._prove(content, answer, "etag")

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the object's bytes, or a range of them."""
        if end is not None and end <= start:
            return
        length = None if end is None else end - start
        with self._answers(key):
            try:
                yield from (
                    self._blob(key)
                    .download_blob(start, length, raw_response_hook=self._require_range)
                    .chunks()
                )
            except HttpResponseError as error:
                if error.status_code != _BEYOND_THE_END:
                    raise

    def size(self, key: str) -> int:
        """Return the object's size."""
        with self._answers(key):
            return int(self._blob(key).get_blob_properties().size)

    def delete(self, key: str) -> None:
        """Delete one object."""
        with self._writes(key, store=False):
            self._delete(key)

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below a prefix, in the order of the service."""
        with self._answers(prefix):
            for blob in self._container.list_blobs(name_starts_with=self._path(prefix)):
                key = blob.name[len(self._path("")) :]
                yield StoredObject(key, blob.size, blob.last_modified)

    def presigned_url(self, key: str, seconds: int) -> str | None:
        """Sign a GET with the account's key, without a request.

        Without the key there is no URL: a shared access token in it would permit writes.
        """
        account_key = self._settings.azure_account_key
        if account_key is None:
            return None
        blob = self._blob(key)
        signature = generate_blob_sas(
            account_name=self._settings.azure_account_name,
            container_name=self._settings.azure_container,
            blob_name=self._path(key),
            account_key=account_key.get_secret_value(),
            permission=BlobSasPermissions(read=True),
            expiry=datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds),
        )
        return f"{blob.url}?{signature}"

    def begin_parts(self, key: str) -> str:
        """Choose the key under which the parts are put together; no request is made."""
        del key
        return str(uuid4())

    def put_part(self, key: str, upload_id: str, number: int, body: Body, size: int) -> str:
        """Write one part and return its id; ids are of one length."""
        block = base64.b64encode(f"{number:08d}".encode()).decode()
        with self._writes(key):
            content = Content(body, size)
            answer = self._blob(_parts(upload_id)).stage_block(
                block, _whole(body), length=size, validate_content=_in_memory(body)
            )
            self._prove(content, answer, "request_id")
        return block

    def finish_parts(self, key: str, upload_id: str, tags: list[str], size: int) -> None:
        """Join the parts, copy the result to the key and delete it."""
        parts = self._blob(_parts(upload_id))
        with self._writes(key):
            try:
                answer = parts.commit_block_list(
                    [BlobBlock(block_id=tag) for tag in tags], read_timeout=assembly_seconds(size)
                )
            except (ServiceRequestError, ServiceResponseError) as error:
                raise OutcomeUnknown(self.location, type(error).__name__) from error
            self._require(answer, "etag")
            self._copy(parts, key)
            self._delete(_parts(upload_id))

    def abort_parts(self, key: str, upload_id: str) -> None:
        """Delete the parts, which is possible only as the object that they become."""
        with self._answers(key):
            self._blob(_parts(upload_id)).commit_block_list([])
            self._delete(_parts(upload_id))

    def name_of(self, key: str) -> str:
        """Return the name in the container."""
        return self._path(key)

    def _check_bucket(self) -> None:
        # Unlike the properties of the container, its list can be read with a token.
        next(iter(self._prober.list_blob_names(results_per_page=1)), None)

    def _read_small(self, key: str) -> bytes:
        blob = self._prober.get_blob_client(self._path(key))
        return bytes(blob.download_blob(0, READ_MAXIMUM).readall())

    def _write_small(self, key: str, data: bytes, *, new: bool) -> None:
        blob = self._prober.get_blob_client(self._path(key))
        try:
            answer = blob.upload_blob(data, overwrite=not new)
        except ResourceExistsError as error:
            raise ObjectChanged(self.location, key) from error
        self._prove(Content(data, len(data)), answer, "etag")

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _blob(self, key: str) -> BlobClient:
        return self._container.get_blob_client(self._path(key))

    def _require_range(self, response: Any) -> None:
        """Raise InvalidStoreResponse if a response does not have the requested range."""
        answer, asked = response.http_response, response.http_request.headers.get("x-ms-range")
        if asked is None or answer.status_code not in _SUCCESS:
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        content_range = answer.headers.get("Content-Range")
        end = int(last) + 1 if last else None
        require_range(self.location, answer.status_code, content_range, int(first), end)

    def _require(self, answer: Mapping[str, Any], name: str) -> None:
        """Raise WriteNotProven if an answer lacks a header that the service always sends."""
        if not answer.get(name):
            raise WriteNotProven(self.location, f"it answered a write without {name}")

    def _prove(self, content: Content, answer: Mapping[str, Any], required: str) -> None:
        """Compare the MD5 that the service computed, if it sends one.

        Raises:
            WriteNotProven: the write is not proven.
        """
        self._require(answer, required)
        if md5 := answer.get("content_md5"):
            require_md5(self.location, bytes(md5).hex(), content, {})

    def _delete(self, key: str) -> None:
        try:
            self._blob(key).delete_blob()
        except ResourceNotFoundError as error:
            if _code(error) == _MISSING_CONTAINER:
                raise

    def _copy(self, source: BlobClient, key: str) -> None:
        """Copy within the account, and wait for the end of the copy."""
        target = self._blob(key)
        target.start_copy_from_url(source.url)
        deadline = time.monotonic() + _COPY_TIMEOUT
        while (status := target.get_blob_properties().copy.status) == "pending":
            if time.monotonic() > deadline:
                raise StoreUnavailable(self.location, "copying within the account takes too long")
            time.sleep(_COPY_POLL)
        if status != "success":
            raise StoreUnavailable(self.location, f"copying within the account ended as {status}")

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except ResourceNotFoundError as error:
            if _code(error) == _MISSING_CONTAINER:
                raise StoreUnavailable(self.location, "its container does not exist") from error
            raise ObjectMissing(self.location, key) from error
        except ClientAuthenticationError as error:
            raise StoreRefused(self.location, f"it answered {_code(error)}") from error
        except HttpResponseError as error:
            kind = StoreRefused if error.status_code in _REFUSED else StoreUnavailable
            raise kind(self.location, f"it answered {_code(error)}") from error
        except AzureError as error:
            raise unavailable(self.location, error) from error


def _whole(body: Body) -> BinaryIO | bytes:
    return bytes(body) if isinstance(body, memoryview) else body


def _in_memory(body: Body) -> bool:
    return isinstance(body, bytes | memoryview)


def _parts(upload_id: str) -> str:
    return f"uploads/{upload_id}"


def _code(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", None) or error.status_code
    return str(getattr(code, "value", code))


def _container(
    settings: AzureSettings, ca_bundle: str | None, read_timeout: int, *, retries: int
) -> ContainerClient:
    account = settings.azure_account_name
    return ContainerClient(
        settings.endpoint_url or f"https://{account}.blob.core.windows.net",
        settings.azure_container,
        credential=_credential(settings),
        connection_timeout=_CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        retry_total=retries,
        connection_verify=ca_bundle or True,
        max_single_put_size=_WRITE_MAXIMUM,
        max_single_get_size=_READ_PIECE,
        max_chunk_get_size=_READ_PIECE,
    )


def _credential(settings: AzureSettings) -> dict[str, str] | str | None:
    """Return the account's name and key, or its token."""
    if settings.azure_account_key is not None:
        return {
            "account_name": settings.azure_account_name,
            "account_key": settings.azure_account_key.get_secret_value(),
        }
    return settings.sas_token.get_secret_value() if settings.sas_token else None
