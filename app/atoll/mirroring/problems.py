"""Texts for users about failures of mirrors.

The texts of errors are for operators: they may name internal hosts. Users read these instead, by
the `code` of the error.
"""

from __future__ import annotations

from collections.abc import Mapping

PARTIAL = "partial"
UPSTREAM_EMPTY = "upstream_empty"
CANCELLED = "cancelled"
# The run would have deleted too many tags.
TOO_MANY_DELETIONS = "too_many_deletions"

# As UPSTREAM_EMPTY, for the repositories of an organization's mirror.
REPOSITORIES_EMPTY = "the upstream lists no repositories, but some were mirrored; none was changed"

_UNKNOWN = "an internal error occurred; operators find it in the log"

PROBLEMS: Mapping[str, str] = {
    # Outcomes of runs.
    PARTIAL: "some tags could not be copied",
    UPSTREAM_EMPTY: "the upstream lists no tags, but some were mirrored; none was deleted",
    TOO_MANY_DELETIONS: "the run would delete too many tags; none was deleted until confirmed",
    "robot_not_allowed": "the robot of the mirror may not push to the repository",
    CANCELLED: "cancelled",
    "plan_interrupted": "the plan was interrupted five times, for example by a lack of memory",
    "copy_interrupted": "the copy was interrupted 100 times, for example by a lack of memory",
    "tag_timeout": "the upstream sent nothing within the time-out of a tag",
    "decryption_failed": "the credentials cannot be decrypted; enter them again",
    "unknown_error": _UNKNOWN,
    # Access.
    "auth_failed": "the upstream refused the credentials, or requires some",
    "not_found": "the upstream does not have the repository, or hides it from this account",
    "manifest_unknown": "the upstream does not have a manifest that it lists",
    "blob_unknown": "the upstream does not have a blob that a manifest refers to",
    "invalid_reference": "the reference of the upstream is not valid",
    "address_refused": "the address of the upstream is not permitted",
    "not_a_registry": "the upstream does not respond as a registry",
    # Network.
    "connection_error": "the upstream cannot be reached",
    "network_timeout": "the upstream did not respond in time",
    "tls_error": "the certificate of the upstream is not valid, or TLS failed",
    "server_error": "the upstream responded with an error",
    "upstream_paused": "requests to the upstream are paused",
    "rate_limited": "the upstream limits requests",
    "upstream_unavailable": "the upstream failed repeatedly",
    "quota_exhausted": "the permitted number of requests to the upstream is used up",
    # Content.
    "invalid_response": "the upstream sent an invalid response",
    "too_large": "the upstream sent a document that is too large",
    "content_encoding": "the upstream sent encoded content",
    "wrong_digest": "the upstream sent content with a wrong digest",
    "truncated": "the upstream sent incomplete content",
    "too_long": "the upstream sent more content than announced",
    "schema1": "the image has a manifest of schema 1, which is not supported",
    "unsupported_manifest": "the manifest has an unsupported media type",
    "endless_listing": "the listing of the upstream is too long, or repeats itself",
    "manifest_invalid": "a manifest is malformed, or exceeds a limit",
    "architecture_missing": "the image does not exist for the selected architectures",
    # This registry.
    "sparse_index_disabled": "selecting architectures requires FEATURE_SPARSE_INDEX in the bundle",
    "store_unavailable": "no store accepted a blob",
    "copies_pending": "copies at other locations were not completed in time",
    "content_collected": "content was deleted while it was copied",
    "lease_lost": "another process continued the copy",
}


def problem_text(code: str) -> str:
    """Return the text for users about a failure with this code."""
    return PROBLEMS.get(code, _UNKNOWN)
