"""Banners: messages of operators to all users, which Quay's API calls global messages."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from atoll.db.pool import Database


class BannerUnknown(Exception):
    """There is no such banner."""


@dataclass(frozen=True)
class Banner:
    """A message to all users."""

    uuid: UUID
    content: str
    severity: str
    media_type: str


class Banners:
    """The banners of the registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, content: str, severity: str, media_type: str) -> None:
        """Create a banner."""
        self._database.run(
            "INSERT INTO message (content, severity, media_type) VALUES (%s, %s, %s)",
            [content, severity, media_type],
        )

    def delete(self, uuid: UUID) -> None:
        """Delete a banner.

        Raises:
            BannerUnknown: There is no such banner.
        """
        if not self._database.run("DELETE FROM message WHERE uuid = %s RETURNING id", [uuid]):
            raise BannerUnknown(f"there is no message {uuid}")

    def list(self) -> list[Banner]:
        """Return all banners, oldest first."""
        rows = self._database.read(
            "SELECT uuid, content, severity, media_type FROM message ORDER BY id"
        )
        return [Banner(*row) for row in rows]
