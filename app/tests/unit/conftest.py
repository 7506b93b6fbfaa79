"""Fixtures of several modules."""

from __future__ import annotations

from ..upstream.fixtures import ca, there, upstream
from .upstream_client import impatient, one

__all__ = ["ca", "impatient", "one", "there", "upstream"]
