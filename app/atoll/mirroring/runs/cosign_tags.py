"""The tags of cosign at the upstreams of current runs, which copies of images look up."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from atoll.upstream.attached_tags import is_attached_tag
from atoll.upstream.client import TAGS_MAXIMUM


class CosignTags:
    """Keeps the tags of cosign in listings of upstreams; thread-safe.

    All listings together have at most 200,000 tags, which need up to 40 MB: the oldest listings are
    removed. Each listing counts as a further tag.
    """

    def __init__(self, maximum: int = TAGS_MAXIMUM) -> None:
        """Keep no listing.

        Args:
            maximum: The maximum number of tags of all listings; a larger one is not kept.
        """
        self._maximum = maximum
        self._lock = threading.Lock()
        self._kept: dict[int, frozenset[str]] = {}
        self._size = 0

    def keep(self, run_id: int, listed: Iterable[str]) -> frozenset[str]:
        """Keep a listing.

        Args:
            run_id: The run.
            listed: All tags of the upstream.

        Returns:
            Its tags of cosign.
        """
        tags = frozenset(tag for tag in listed if is_attached_tag(tag))
        with self._lock:
            self._remove(run_id)
            self._kept[run_id] = tags
            self._size += len(tags) + 1
            while self._size > self._maximum:
                self._remove(next(iter(self._kept)))
        return tags

    def find(self, run_id: int) -> frozenset[str] | None:
        """Return the tags of cosign of a run; None if its listing is not kept."""
        with self._lock:
            return self._kept.get(run_id)

    def _remove(self, run_id: int) -> None:
        if (tags := self._kept.pop(run_id, None)) is not None:
            self._size -= len(tags) + 1
