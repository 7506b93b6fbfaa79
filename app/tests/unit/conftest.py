"""Fixtures of several modules."""

from __future__ import annotations

from ..upstream.fixtures import ca, there, upstream

__all__ = ["ca", "there", "upstream"]
