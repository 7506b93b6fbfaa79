"""Deletion of the objects of ended uploads, at once or in the background."""

from __future__ import annotations

import logging
from uuid import UUID

from atoll.names import Digest
from atoll.placement.content_deletions import ContentDeletions
from atoll.registry.upload_records import UploadRecords
from atoll.registry.upload_session import Chunk
from atoll.storage.errors import StoreError, StoreUnavailable
from atoll.storage.locations import Locations

log = logging.getLogger(__name__)


class UploadCleanup:
    """Deletes objects of uploads; those at unavailable stores are deleted in the background."""

    def __init__(
        self, records: UploadRecords, locations: Locations, content: ContentDeletions
    ) -> None:
        self._records = records
        self._locations = locations
        self._content = content

    def delete_object(self, chunk: Chunk, uuid: UUID | None, *, first: bool) -> None:
        """Delete an object now, or in the background if its store is unavailable.

        Args:
            chunk: The object.
            uuid: An upload whose reference to the object is ignored.
            first: Whether the object is at a content address, where it may be in use.
        """
        try:
            self._delete(chunk, uuid, first=first)
        except StoreError as error:
            log.warning("object not deleted yet", extra={"key": chunk.key, "cause": str(error)})
            self.delete_later(chunk)

    def delete_later(self, chunk: Chunk) -> None:
        """Delete an object in the background, unless something else refers to it by then."""
        self._records.insert_ended(chunk)

    def end(self, uuid: UUID) -> bool:
        """End an upload, and delete its objects and then its record.

        Objects at unavailable stores are left to the background, without waiting for the stores.

        Returns:
            Whether all objects were deleted.
        """
        left = self._records.end_for_cleanup(uuid)
        if left is None:
            return True
        try:
            while left:
                self._delete(left[0], uuid, first=left[0].at_content_address)
                del left[0]
        except StoreError as error:
            fields = {"upload": str(uuid), "cause": str(error)}
            log.warning("objects of an upload not deleted yet", extra=fields)
            self._records.keep_leftovers(uuid, left)
            return False
        self._records.delete(uuid)
        return True

    def delete_leftovers(self, expiry_minutes: int) -> int:
        """Delete a batch of ended and abandoned uploads with their objects.

        Args:
            expiry_minutes: Minutes without a change after which an upload counts as abandoned.

        Returns:
            The number of uploads whose objects were all deleted.
        """
        health = self._locations.health
        available = [name for name in self._locations.stores if health.is_up(name)]
        uuids = self._records.leftovers(expiry_minutes, available)
        deleted = sum(self.end(uuid) for uuid in uuids)
        self._content.purge_records(2 * expiry_minutes)
        return deleted

    def _delete(self, chunk: Chunk, uuid: UUID | None, *, first: bool) -> None:
        if not self._locations.health.is_up(chunk.location):
            raise StoreUnavailable(chunk.location, "it is known to be down, or not configured")
        if first:
            self._content.discard(Digest.parse(chunk.digest), chunk.location, uuid)
        else:
            self._locations.stores[chunk.location].delete(chunk.key)
