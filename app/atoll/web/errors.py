"""One table of what each failure means in HTTP, and one place that writes the answer.

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

# Seconds after which a client may try again what could not be served now.
RETRY_AFTER = "5"


class Unauthorized(Exception):
    """The request needs a token that allows more; CHALLENGE says where to get it."""

    def __init__(self, challenge: str) -> None:
        super().__init__("authentication is required, or the token does not allow this")
        self.challenge = challenge


class BodyTooLarge(Exception):
    """More came than is accepted."""


class TooManyTags(Exception):
    """A push names more tags than one may have."""


class InvalidForm(Exception):
    """The form of a token request cannot be used; the text says why."""


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

    The status is 400 because containers/storage (podman) then merges ranges and tries again.
    """


class TooManyDownloads(Exception):
    """A client, or all clients together, download too many sets of ranges at the same time."""

    def __init__(self) -> None:
        super().__init__("too many requests for several ranges are being served; try again later")


class Unsupported(Exception):
    """The operation does not exist here."""


@dataclass(frozen=True)
class Meaning:
    """The specification's code for a failure, and the HTTP status that goes with it."""

    code: str
    status: int


# Looked up along each exception's base classes, so the nearest entry counts.
MEANINGS: dict[type[Exception], Meaning] = {
    InvalidName: Meaning("NAME_INVALID", 400),
    InvalidDigest: Meaning("DIGEST_INVALID", 400),
    InvalidScope: Meaning("DENIED", 400),
    Unauthorized: Meaning("UNAUTHORIZED", 401),
    WrongCredentials: Meaning("UNAUTHORIZED", 401),
    Throttled: Meaning("TOOMANYREQUESTS", 429),
    InvalidForm: Meaning("UNSUPPORTED", 400),
    PushesDisabled: Meaning("UNSUPPORTED", 405),
    ReadOnly: Meaning("DENIED", 405),
    Unsupported: Meaning("UNSUPPORTED", 405),
    BodyTooLarge: Meaning("SIZE_INVALID", 413),
    TooManyTags: Meaning("TAG_INVALID", 414),
    TooManyRanges: Meaning("UNSUPPORTED", 400),
    TooManyDownloads: Meaning("TOOMANYREQUESTS", 429),
    registry.RepositoryUnknown: Meaning("NAME_UNKNOWN", 404),
    registry.BlobUnknown: Meaning("BLOB_UNKNOWN", 404),
    registry.BlobInUse: Meaning("UNSUPPORTED", 405),
    registry.BlobQuarantined: Meaning("UNAVAILABLE", 503),
    registry.ManifestUnknown: Meaning("MANIFEST_UNKNOWN", 404),
    registry.UploadUnknown: Meaning("BLOB_UPLOAD_UNKNOWN", 404),
    registry.ManifestInvalid: Meaning("MANIFEST_INVALID", 400),
    registry.ManifestBlobUnknown: Meaning("MANIFEST_BLOB_UNKNOWN", 404),
    registry.DigestMismatch: Meaning("DIGEST_INVALID", 400),
    registry.SizeInvalid: Meaning("SIZE_INVALID", 400),
    registry.RangeOutOfOrder: Meaning("BLOB_UPLOAD_INVALID", 416),
    registry.Denied: Meaning("DENIED", 403),
    NotCopiedYet: Meaning("UNAVAILABLE", 503),
    registry.DeletionUnresolved: Meaning("UNAVAILABLE", 503),
    registry.DeletionUnfinished: Meaning("UNAVAILABLE", 503),
    StoreError: Meaning("UNAVAILABLE", 503),
    DatabaseUnavailable: Meaning("UNAVAILABLE", 503),
}

# What the specification has no code for, and clients do not look into.
_UNKNOWN = Meaning("UNKNOWN", 500)
# A manifest can name very many; these are enough to begin with.
_MISSING_MAXIMUM = 100
_MESSAGE_MAXIMUM = 1000
PUBLIC_UNAVAILABLE = "the registry cannot serve this now; try again"


def printable(message: str) -> str:
    """Return a message that fits into a response, although it quotes the request.

    It has at most 1000 characters, and none that UTF-8 cannot encode, such as half of a surrogate
    pair from JSON.
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


def meaning_of(error: Exception) -> Meaning:
    """Return what ERROR means in HTTP."""
    for base in type(error).__mro__:
        if base in MEANINGS:
            return MEANINGS[base]
    return _UNKNOWN


def handle(req: falcon.Request, resp: falcon.Response, error: Exception, _params: Any) -> None:
    """Write the answer for an exception that a resource raised."""
    meaning = meaning_of(error)
    message = str(error) or "wrong user name or password"
    if meaning is _UNKNOWN:
        log.exception("a request failed for a reason that nobody thought of")
        message = "something went wrong here; the log of this site tells what"
    elif meaning.code == "UNAVAILABLE":
        log.error("request not served", extra={"cause": message, "path": req.path})
        if not isinstance(error, registry.RegistryError):
            # What exactly is down is for operators: it names hosts.
            message = getattr(error, "public", PUBLIC_UNAVAILABLE)
        resp.set_header("Retry-After", RETRY_AFTER)
    resp.status = meaning.status
    resp.media = envelope(meaning.code, message)
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
    """Write the answer for an error that Falcon itself found, in the specification's envelope."""
    del req
    codes = {404: "NAME_UNKNOWN", 405: "UNSUPPORTED"}
    resp.status = error.status
    resp.set_headers(error.headers or {})
    message = error.description or error.title or "the request cannot be served"
    resp.media = envelope(codes.get(error.status_code, "UNSUPPORTED"), message)
