"""Failures of a copy that are not those of the upstream."""

from __future__ import annotations

from atoll.upstream.errors import TransferError


class CopyError(TransferError):
    """A tag could not be copied. The text is for operators and contains no secrets."""


class ManifestRefused(CopyError):
    """A manifest of the upstream is malformed, or exceeds a limit."""

    code = "manifest_invalid"


class ArchitectureMissing(CopyError):
    """An index has no image of the selected architectures."""

    code = "architecture_missing"


class SparseIndexDisabled(CopyError):
    """An index would lack images, which FEATURE_SPARSE_INDEX does not permit."""

    code = "sparse_index_disabled"


class NotAMirror(CopyError):
    """The repository is no mirror any more, or the robot may not push to it."""

    code = "robot_not_allowed"


class StoreFailed(CopyError):
    """No store accepted a blob."""

    code = "store_unavailable"
    is_temporary = True


class CopiesPending(CopyError):
    """A policy requires copies at more locations, which were not completed in time."""

    code = "copies_pending"
    is_temporary = True


class ContentCollected(CopyError):
    """Content of the image was deleted while it was copied."""

    code = "content_collected"
    is_temporary = True


class CopyInterrupted(CopyError):
    """Several processes that copied the tag died, or lost the database."""

    code = "copy_interrupted"


class LeaseLost(CopyError):
    """Another process continues the copy of a blob."""

    code = "lease_lost"
    reason = "preempted"
    is_temporary = True
