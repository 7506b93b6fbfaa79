"""A manifest as it is stored."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.names import Digest


@dataclass(frozen=True)
class Manifest:
    """A manifest as it was pushed."""

    digest: Digest
    media_type: str
    content: bytes
