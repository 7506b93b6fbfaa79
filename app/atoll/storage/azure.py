"""The driver for Azure's Blob Storage.

What is written in parts is put together under a key of its own and copied within the account: two
writers of one blob would otherwise throw away each other's parts, and parts that were given up
could not be taken away.
"""

from __future__ import annotations

import base64
import datetime
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO
from uuid import uuid4

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.storage.blob import (
    BlobBlock,
    BlobClient,
    BlobSasPermissions,
    ContainerClient,
    generate_blob_sas,
)

from atoll.config.stores import AzureSettings
from atoll.storage.errors import ObjectMissing, StoreRefused, StoreUnavailable
from atoll.storage.interface import Body, StoredObject
from atoll.storage.no_answer import unavailable
from atoll.storage.observed import Observe, ObservedStore, nobody

# Seconds. Data may take long, silence may not; a probe is given up early.
_CONNECT_TIMEOUT = 2
_READ_TIMEOUT = 10
_PROBE_TIMEOUT = 2
_COPY_TIMEOUT = 600
_COPY_POLL = 0.2
# The most that one request reads, and that it writes.
_READ_PIECE = 4 * 2**20
_WRITE_MAXIMUM = 64 * 2**20
_PROBE_KEY = "_verify"
_MISSING_CONTAINER = "ContainerNotFound"
_BEYOND_THE_END = 416
_REFUSED = frozenset({401, 403})


class AzureObjectStore(ObservedStore):
    """One container."""

    def __init__(
        self,
        location: str,
        settings: AzureSettings,
        *,
        ca_bundle: str | None = None,
        observe: Observe = nobody,
    ) -> None:
        super().__init__(location, observe)
        self._settings = settings
        self._prefix = settings.storage_path.strip("/")
        self._container = _container(settings, ca_bundle, _READ_TIMEOUT, retries=1)
        self._prober = _container(settings, ca_bundle, _PROBE_TIMEOUT, retries=0)

    def put(self, key: str, body: Body, size: int) -> None:
        """Write one object."""
        with self._answers(key, write=True):
            self._blob(key).upload_blob(_whole(body), length=size, overwrite=True)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the object's bytes, or a range of them."""
        if end is not None and end <= start:
            return
        length = None if end is None else end - start
        with self._answers(key):
            try:
                yield from self._blob(key).download_blob(start, length).chunks()
            except HttpResponseError as error:
                if error.status_code != _BEYOND_THE_END:
                    raise

    def size(self, key: str) -> int:
        """Ask for the object's size."""
        with self._answers(key):
            return int(self._blob(key).get_blob_properties().size)

    def delete(self, key: str) -> None:
        """Delete one object."""
        with self._answers(key):
            self._delete(key)

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below PREFIX; the service sorts them."""
        with self._answers(prefix):
            for blob in self._container.list_blobs(name_starts_with=self._path(prefix)):
                key = blob.name[len(self._path("")) :]
                yield StoredObject(key, blob.size, blob.last_modified)

    def presigned_url(self, key: str, seconds: int) -> str | None:
        """Sign a GET with the account's key; no request is made.

        With a token instead of the key there is nothing to sign with, and the token itself would
        let its reader write.
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
        with self._answers(key, write=True):
            self._blob(_parts(upload_id)).stage_block(block, _whole(body), length=size)
        return block

    def finish_parts(self, key: str, upload_id: str, tags: list[str]) -> None:
        """Put the parts together, copy them to KEY and take them away."""
        parts = self._blob(_parts(upload_id))
        with self._answers(key, write=True):
            parts.commit_block_list([BlobBlock(block_id=tag) for tag in tags])
            self._copy(parts, key)
            self._delete(_parts(upload_id))

    def abort_parts(self, key: str, upload_id: str) -> None:
        """Throw the parts away: they can be deleted only as the object that they become."""
        with self._answers(key):
            self._blob(_parts(upload_id)).commit_block_list([])
            self._delete(_parts(upload_id))

    def probe(self, *, write: bool) -> None:
        """Ask for the container or, with WRITE, put a small object."""
        # Not observed: whoever probes draws the conclusions.
        with self._translated(_PROBE_KEY):
            if write:
                blob = self._prober.get_blob_client(self._path(_PROBE_KEY))
                blob.upload_blob(b"ok", overwrite=True)
            else:
                # Unlike the container's properties, this may be read with a token, too.
                next(iter(self._prober.list_blob_names(results_per_page=1)), None)

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _blob(self, key: str) -> BlobClient:
        return self._container.get_blob_client(self._path(key))

    def _delete(self, key: str) -> None:
        try:
            self._blob(key).delete_blob()
        except ResourceNotFoundError as error:
            if _code(error) == _MISSING_CONTAINER:
                raise

    def _copy(self, source: BlobClient, key: str) -> None:
        """Copy within the account, which is mostly done when the service answers."""
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
    """Return the account's key, by name, or the token."""
    if settings.azure_account_key is not None:
        return {
            "account_name": settings.azure_account_name,
            "account_key": settings.azure_account_key.get_secret_value(),
        }
    return settings.sas_token.get_secret_value() if settings.sas_token else None
