"""Errors of media; their texts name the medium and the file."""

from __future__ import annotations

from atoll.errors import UserError


class MediumError(UserError):
    """Base class of errors of media."""


class MediumRefused(MediumError):
    """A medium is incomplete or altered, or has an unknown format."""


class MediumNotWritable(MediumError):
    """A medium cannot be written."""


class SparseIndexRefused(MediumError):
    """An index lacks images that no medium has, which FEATURE_SPARSE_INDEX does not permit."""
