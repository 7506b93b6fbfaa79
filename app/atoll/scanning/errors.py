"""Errors of scans that are not those of a scanner."""

from __future__ import annotations

from atoll.errors import AtollError


class LayerUnavailable(AtollError):
    """No available store has a layer of the image now."""


class ReportUnavailable(AtollError):
    """No scanner responds, and no earlier report of the image is stored."""
