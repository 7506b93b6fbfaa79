"""Copy an object between two buckets or paths of one S3 service.

The bytes do not pass through Atoll, so the caller reads and hashes them before. The copy is made on
the condition that the object still has the same ETag.
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
# The largest object that one request copies, and the size of the parts of larger ones.
SINGLE_MAXIMUM = 5 * GIBIBYTE
PART_SIZE = GIBIBYTE
_CONCURRENT_PARTS = 4
_MISSING = 404


def same_service(one: S3StoreSettings, other: S3StoreSettings) -> bool:
    """Return whether two stores have the same endpoint and the same keys or role."""
    return _identity(one) == _identity(other)


def _identity(settings: S3StoreSettings) -> tuple[Any, ...]:
    return (settings.endpoint, settings.credentials, settings.session_token, settings.role)


class ServerSideCopy:
    """Copies to one object.

    Args:
        client_for: returns a client with a time-out that suits a number of bytes.
        location: the location of the target's store.
        bucket: the target's bucket.
        key: the target's key in the bucket.
    """

    def __init__(
        self, client_for: Callable[[int], S3Client], location: str, bucket: str, key: str
    ) -> None:
        self._client_for = client_for
        self._location = location
        self._target: dict[str, Any] = {"Bucket": bucket, "Key": key}

    def run(self, bucket: str, key: str, etag: str, size: int) -> None:
        """Copy an object of `size` bytes, in one request or in parts.

        Raises:
            OutcomeUnknown: the target may exist, or may appear later.
        """
        source: dict[str, Any] = {
            "CopySource": {"Bucket": bucket, "Key": key},
            # Ceph compares quotes as well, and finds no match with them.
            "CopySourceIfMatch": etag.strip('"'),
        }
        if size <= SINGLE_MAXIMUM:
            self._in_one_request(source, size)
        else:
            self._in_parts(source, size)

    def _in_one_request(self, source: dict[str, Any], size: int) -> None:
        client, checking_client = self._client_for(size), self._client_for(0)
        before = self._state(checking_client)

        def request() -> Any:
            answer = client.copy_object(**self._target, **source)
            return answer.get("CopyObjectResult", {}).get("ETag")

        def is_done() -> bool:
            after = self._state(checking_client)
            return after is not None and after != before and after[0] == size

        request_with_unknown_outcome(self._location, request, is_done)

    def _state(self, client: S3Client) -> tuple[object, ...] | None:
        """Return attributes that change when the target is written, None if it does not exist."""
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
            with ThreadPoolExecutor(_CONCURRENT_PARTS) as executor:
                starts = enumerate(range(0, size, PART_SIZE), start=1)
                parts: Any = list(executor.map(copy, starts))
            complete_upload(client, self._client_for(0), self._location, upload, parts, size=size)
        except OutcomeUnknown:
            # The parts may have become the object, or may still do so.
            raise
        except Exception:
            client.abort_multipart_upload(**upload)
            raise
