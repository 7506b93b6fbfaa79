"""Map exceptions to responses of the distribution API.

Codes: OCI distribution-spec v1.1.1, "Error Codes".
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import falcon

from atoll.auth.access import WrongCredentials
from atoll.auth.scopes import InvalidScope
from atoll.auth.throttle import Throttled
from atoll.db.pool import DatabaseUnavailable
from atoll.names import InvalidDigest, InvalidName
from atoll.placement.upkeep.push_barrier import NotCopiedYet
from atoll.registry import errors as registry
from atoll.storage.errors import StoreError

log = logging.getLogger(__name__)

# Seconds after which a client may retry a request that cannot be served now.
RETRY_AFTER = "5"


class Unauthorized(Exception):
    """The request needs a token with more permissions; the challenge names the token service."""

    def __init__(self, challenge: str) -> None:
        super().__init__("authentication is required, or the token does not allow this")
        self.challenge = challenge


class BodyTooLarge(Exception):
    """The body exceeds the maximum size."""


class TooManyTags(Exception):
    """A push names more tags than the maximum."""


class InvalidForm(Exception):
    """The form of a token request is invalid; the message contains the reason."""


class PushesDisabled(Exception):
    """DISABLE_PUSHES is set."""

    def __init__(self) -> None:
        super().__init__(
            "Pushes to the registry are currently disabled. Please contact the administrator for"
            " more information."
        )


class ReadOnly(Exception):
    """REGISTRY_STATE is readonly."""

    def __init__(self) -> None:
        super().__init__(
            "System is currently read-only. Pulls will succeed but all write operations are"
            " currently suspended."
        )


class TooManyRanges(Exception):
    """A request for more ranges, or more bytes, than one response may carry.

    The status is 400 because containers/storage (podman) then merges ranges and retries.
    """


class TooManyDownloads(Exception):
    """Too many responses are streamed at the same time, to one client or to all together."""

    def __init__(self) -> None:
        super().__init__("too many requests for several ranges are being served; try again later")


@dataclass(frozen=True)
class ErrorCode:
    """The specification's error code for an exception, and its HTTP status."""

    code: str
    status: int


# The entry of the nearest base class applies.
ERROR_CODES: dict[type[Exception], ErrorCode] = {
    InvalidName: ErrorCode("NAME_INVALID", 400),
    InvalidDigest: ErrorCode("DIGEST_INVALID", 400),
    InvalidScope: ErrorCode("DENIED", 400),
    Unauthorized: ErrorCode("UNAUTHORIZED", 401),
    WrongCredentials: ErrorCode("UNAUTHORIZED", 401),
    Throttled: ErrorCode("TOOMANYREQUESTS", 429),
    InvalidForm: ErrorCode("UNSUPPORTED", 400),
    PushesDisabled: ErrorCode("UNSUPPORTED", 405),
    ReadOnly: ErrorCode("DENIED", 405),
    BodyTooLarge: ErrorCode("SIZE_INVALID", 413),
    TooManyTags: ErrorCode("TAG_INVALID", 414),
    TooManyRanges: ErrorCode("UNSUPPORTED", 400),
    TooManyDownloads: ErrorCode("TOOMANYREQUESTS", 429),
    registry.RepositoryUnknown: ErrorCode("NAME_UNKNOWN", 404),
    registry.BlobUnknown: ErrorCode("BLOB_UNKNOWN", 404),
    registry.BlobInUse: ErrorCode("UNSUPPORTED", 405),
    registry.BlobQuarantined: ErrorCode("UNAVAILABLE", 503),
    registry.ManifestUnknown: ErrorCode("MANIFEST_UNKNOWN", 404),
    registry.UploadUnknown: ErrorCode("BLOB_UPLOAD_UNKNOWN", 404),
    registry.ManifestInvalid: ErrorCode("MANIFEST_INVALID", 400),
    registry.ManifestBlobUnknown: ErrorCode("MANIFEST_BLOB_UNKNOWN", 404),
    registry.DigestMismatch: ErrorCode("DIGEST_INVALID", 400),
    registry.SizeInvalid: ErrorCode("SIZE_INVALID", 400),
    registry.RangeOutOfOrder: ErrorCode("BLOB_UPLOAD_INVALID", 416),
    registry.Denied: ErrorCode("DENIED", 403),
    NotCopiedYet: ErrorCode("UNAVAILABLE", 503),
    registry.DeletionUnresolved: ErrorCode("UNAVAILABLE", 503),
    registry.DeletionUnfinished: ErrorCode("UNAVAILABLE", 503),
    StoreError: ErrorCode("UNAVAILABLE", 503),
    DatabaseUnavailable: ErrorCode("UNAVAILABLE", 503),
}

# For unhandled exceptions; the specification has no code for them.
_UNKNOWN = ErrorCode("UNKNOWN", 500)
# Missing blobs that a response lists. A manifest may name many more.
_MISSING_MAXIMUM = 100
_MESSAGE_MAXIMUM = 1000
_PATH_MAXIMUM = 200
PUBLIC_UNAVAILABLE = "the registry cannot serve this now; try again"


def printable(message: str) -> str:
    """Return a message that is safe to send although it quotes the request.

    It has at most 1000 characters. Characters that UTF-8 cannot encode, such as half of a surrogate
    pair from JSON, are escaped.
    """
    return message[:_MESSAGE_MAXIMUM].encode(errors="backslashreplace").decode()


def envelope(code: str, message: str, detail: Any = None) -> dict[str, Any]:
    """Return the body of an error response."""
    error = {"code": code, "message": printable(message)}
    if detail is not None:
        error["detail"] = detail
    return {"errors": [error]}


def _missing(digest: str) -> dict[str, Any]:
    message = f"the repository does not have {digest}; push it first"
    return {"code": "MANIFEST_BLOB_UNKNOWN", "message": message, "detail": {"digest": digest}}


def error_code_of(error: Exception) -> ErrorCode:
    """Return the error code and status of an exception."""
    for base in type(error).__mro__:
        if base in ERROR_CODES:
            return ERROR_CODES[base]
    return _UNKNOWN


def handle(req: falcon.Request, resp: falcon.Response, error: Exception, _params: Any) -> None:
    """Write the response for an exception that a resource raised."""
    error_code = error_code_of(error)
    message = str(error) or "wrong user name or password"
    if error_code is _UNKNOWN:
        log.exception("unhandled exception")
        message = "internal error; the log of this site has the details"
    elif error_code.code == "UNAVAILABLE":
        log.error("request not served", extra={"cause": message, "path": req.path})
        if not isinstance(error, registry.RegistryError):
            # The details name hosts, which are for operators only.
            message = getattr(error, "public", PUBLIC_UNAVAILABLE)
        resp.set_header("Retry-After", RETRY_AFTER)
    resp.status = error_code.status
    resp.media = envelope(error_code.code, message)
    if isinstance(error, registry.ManifestBlobUnknown):
        resp.media = {"errors": [_missing(digest) for digest in error.digests[:_MISSING_MAXIMUM]]}
    if isinstance(error, Unauthorized):
        resp.set_header("WWW-Authenticate", error.challenge)
    if isinstance(error, Throttled):
        resp.set_header("Retry-After", str(error.seconds))
    if isinstance(error, TooManyDownloads):
        resp.set_header("Retry-After", RETRY_AFTER)
    if isinstance(error, ReadOnly):
        resp.media["errors"][0]["is_readonly"] = True


def handle_http_error(
    req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, _params: Any
) -> None:
    """Write the response for an error that Falcon raised, in the specification's format."""
    resp.status = error.status
    resp.set_headers(error.headers or {})
    message = error.description or error.title or "the request cannot be served"
    if isinstance(error, falcon.HTTPRouteNotFound):
        # Not NAME_UNKNOWN: a client would conclude that the repository does not exist.
        message = f"there is nothing at {req.path[:_PATH_MAXIMUM]}"
    elif isinstance(error, falcon.HTTPMethodNotAllowed):
        message = f"{req.method} is not supported here"
    resp.media = envelope("UNSUPPORTED", message)
