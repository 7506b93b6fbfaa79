"""Complete multipart uploads, and determine the outcome if there is no answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from atoll.storage.errors import OutcomeUnknown
from atoll.storage.proof import multipart_tag, plain

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SERVER_ERROR = 500
_NO_UPLOAD = frozenset({"NoSuchUpload", "404"})


def request_with_unknown_outcome(
    location: str, request: Callable[[], Any], is_done: Callable[[], bool]
) -> None:
    """Send a request, and check the store if its outcome is unknown.

    Args:
        location: the store's location.
        request: sends the request and returns an ETag.
        is_done: returns whether the store has carried it out.

    Raises:
        ClientError: the store refused the request.
        OutcomeUnknown: the store may have carried it out, or may still do so.
    """
    try:
        if plain(request() or ""):
            return
        cause = "it answered without an ETag"
    except BotoCoreError as error:
        if _looks_done(is_done):
            return
        raise OutcomeUnknown(location, type(error).__name__) from error
    except ClientError as error:
        # If the request was repeated after its connection broke, the upload may be completed.
        if _was_refused(error) and _code(error) not in _NO_UPLOAD:
            raise
        if _looks_done(is_done):
            return
        if _was_refused(error):
            raise
        raise OutcomeUnknown(location, f"it answered {_code(error)}") from error
    if not _looks_done(is_done):
        raise OutcomeUnknown(location, cause)


def complete_upload(
    client: S3Client,
    checking_client: S3Client,
    location: str,
    target: dict[str, Any],
    parts: list[Any],
    *,
    size: int,
) -> None:
    """Complete a multipart upload.

    Args:
        client: has a time-out that suits the size of the object.
        checking_client: checks the object if there is no answer, with a shorter time-out.
        location: the store's location.
        target: the bucket, key and upload.
        parts: the numbers and ETags of the parts, in order.
        size: the object's size in bytes.

    Raises:
        OutcomeUnknown: the object may exist, or may appear later.
    """

    def request() -> Any:
        answer = client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
        return answer.get("ETag")

    expected = multipart_tag([part["ETag"] for part in parts])
    where = {name: target[name] for name in ("Bucket", "Key")}

    def is_done() -> bool:
        found = checking_client.head_object(**where)
        if found.get("ContentLength") != size:
            return False
        if expected is None:
            return not _upload_exists(checking_client, target)
        return plain(found.get("ETag", "")) == expected

    request_with_unknown_outcome(location, request, is_done)


def _upload_exists(client: S3Client, target: dict[str, Any]) -> bool:
    try:
        client.list_parts(**target)
    except ClientError as error:
        if _code(error) in _NO_UPLOAD:
            return False
        raise
    return True


def _looks_done(is_done: Callable[[], bool]) -> bool:
    try:
        return is_done()
    except (BotoCoreError, ClientError):
        return False


def _was_refused(error: ClientError) -> bool:
    metadata: Any = error.response.get("ResponseMetadata", {})
    return int(metadata.get("HTTPStatusCode", _SERVER_ERROR)) < _SERVER_ERROR


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
