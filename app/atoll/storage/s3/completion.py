"""Let S3 make one object of parts, and find out whether it did where no answer comes."""

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
    """Make REQUEST, which returns an ETag; where its outcome is unknown, ask IS_DONE.

    Raises what REQUEST raises where it was refused, and OutcomeUnknown where the store may have
    carried it out, or still may.
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
        # A request that was repeated after its connection broke may find the upload gone.
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
    looker: S3Client,
    location: str,
    target: dict[str, Any],
    parts: list[Any],
    *,
    size: int,
) -> None:
    """Make the PARTS of an upload one object.

    Args:
        client: waits for as long as the store may need.
        looker: looks at the object where no answer came, and waits for less.
        location: whose store it is.
        target: bucket, key and upload.
        parts: their numbers and ETags, in order.
        size: of the object, in bytes.

    Raises:
        OutcomeUnknown: the object may be there, or may appear later.
    """

    def request() -> Any:
        answer = client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
        return answer.get("ETag")

    expected = multipart_tag([part["ETag"] for part in parts])
    where = {name: target[name] for name in ("Bucket", "Key")}

    def is_done() -> bool:
        found = looker.head_object(**where)
        if found.get("ContentLength") != size:
            return False
        if expected is None:
            return not _upload_exists(looker, target)
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
