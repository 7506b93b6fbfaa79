"""Let S3 copy an object between two buckets or paths of one service.

The bytes do not pass through here, so whoever orders it has read and hashed them before; the copy
is made on the condition that the object still has the ETag that it had then.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from atoll.config.stores import S3StoreSettings
from atoll.storage.errors import OutcomeUnknown, WriteNotProven
from atoll.storage.s3.completion import complete_upload, request_with_unknown_outcome

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

GIBIBYTE = 2**30
# What one request may copy, and how much one does of an object that is larger.
SINGLE_MAXIMUM = 5 * GIBIBYTE
PART_SIZE = GIBIBYTE
_AT_ONCE = 4
_MISSING = 404


def same_service(one: S3StoreSettings, other: S3StoreSettings) -> bool:
    """Tell whether two stores are at one endpoint and used with the same keys or role."""
    return _identity(one) == _identity(other)


def _identity(settings: S3StoreSettings) -> tuple[Any, ...]:
    return (settings.endpoint, settings.credentials, settings.session_token, settings.role)


class ServerSideCopy:
    """Copies to KEY in BUCKET of LOCATION's store.

    CLIENT_FOR returns a client that waits as long as an object of so many bytes needs. What it
    raises is raised, and OutcomeUnknown where the object may be there, or may come.
    """

    def __init__(
        self, client_for: Callable[[int], S3Client], location: str, bucket: str, key: str
    ) -> None:
        self._client_for = client_for
        self._location = location
        self._target: dict[str, Any] = {"Bucket": bucket, "Key": key}

    def run(self, bucket: str, key: str, etag: str, size: int) -> None:
        """Copy KEY of BUCKET, SIZE bytes that have ETAG: at once, or in parts where it must be."""
        source: dict[str, Any] = {
            "CopySource": {"Bucket": bucket, "Key": key},
            # Ceph compares with the quotes, if it is given any, and finds nothing that matches.
            "CopySourceIfMatch": etag.strip('"'),
        }
        if size <= SINGLE_MAXIMUM:
            self._at_once(source, size)
        else:
            self._in_parts(source, size)

    def _at_once(self, source: dict[str, Any], size: int) -> None:
        client, looker = self._client_for(size), self._client_for(0)
        before = self._state(looker)

        def request() -> Any:
            answer = client.copy_object(**self._target, **source)
            return answer.get("CopyObjectResult", {}).get("ETag")

        def is_done() -> bool:
            after = self._state(looker)
            return after is not None and after != before and after[0] == size

        request_with_unknown_outcome(self._location, request, is_done)

    def _state(self, client: S3Client) -> tuple[object, ...] | None:
        """Return what changes when the target is written; None if it is not there."""
        try:
            found = client.head_object(**self._target)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != _MISSING:
                raise
            return None
        return found.get("ContentLength"), found.get("ETag"), found.get("LastModified")

    def _in_parts(self, source: dict[str, Any], size: int) -> None:
        client = self._client_for(size)
        upload_id = client.create_multipart_upload(**self._target)["UploadId"]
        upload = {**self._target, "UploadId": upload_id}

        def copy(numbered: tuple[int, int]) -> dict[str, Any]:
            number, start = numbered
            answer = self._client_for(PART_SIZE).upload_part_copy(
                **upload,
                **source,
                PartNumber=number,
                CopySourceRange=f"bytes={start}-{min(start + PART_SIZE, size) - 1}",
            )
            tag = answer.get("CopyPartResult", {}).get("ETag")
            if not tag:
                raise WriteNotProven(self._location, "it copied a part without an ETag")
            return {"PartNumber": number, "ETag": tag}

        try:
            with ThreadPoolExecutor(_AT_ONCE) as executor:
                starts = enumerate(range(0, size, PART_SIZE), start=1)
                parts: Any = list(executor.map(copy, starts))
            complete_upload(client, self._client_for(0), self._location, upload, parts, size=size)
        except OutcomeUnknown:
            # Its parts may be the object by now, or will be.
            raise
        except Exception:
            client.abort_multipart_upload(**upload)
            raise
