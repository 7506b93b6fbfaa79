"""What operators tell everybody who uses the registry."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from atoll.db.pool import Database


class MessageUnknown(Exception):
    """There is no such message."""


@dataclass(frozen=True)
class Message:
    """A message."""

    uuid: UUID
    content: str
    severity: str
    media_type: str


class Messages:
    """All messages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, content: str, severity: str, media_type: str) -> None:
        """Tell everybody from now on."""
        self._database.run(
            "INSERT INTO message (content, severity, media_type) VALUES (%s, %s, %s)",
            [content, severity, media_type],
        )

    def delete(self, uuid: UUID) -> None:
        """Tell it no more, or raise MessageUnknown."""
        if not self._database.run("DELETE FROM message WHERE uuid = %s RETURNING id", [uuid]):
            raise MessageUnknown(f"there is no message {uuid}")

    def list(self) -> list[Message]:
        """Return all, oldest first."""
        rows = self._database.read(
            "SELECT uuid, content, severity, media_type FROM message ORDER BY id"
        )
        return [Message(*row) for row in rows]
