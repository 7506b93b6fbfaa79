"""Tags in the memory of a process, invalidated by notifications of PostgreSQL.

Saves the round trip of a pull by tag. Off by default (FEATURE_TAG_CACHE): a changed tag is returned
until its notification has arrived, usually some milliseconds after the commit.

Nothing is merely aged. A value is returned only while the listener (`tag_listener`) has proven,
within the last second, that it received every notification of earlier commits, and only if none has
arrived for the value's repository since the read of the value began. That a tag does not exist is
never kept, nor are tags that expire.

Values belong to a repository by id and name. The permission to read it is checked before, for each
request.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from atoll.bounded_cache import BoundedCache
from atoll.names import RepositoryName
from atoll.registry.manifest import Manifest

# Kept manifests, each by its tags and its digest, and the bytes of the largest one.
_MAXIMUM, _SIZE_MAXIMUM = 2048, 32 * 1024
# Repositories share a counter of notifications with others. A shared one costs a read, no more.
_COUNTERS = 1024
# In a payload instead of an id: every repository may have changed.
ALL = "*"

# The repository's id and name, and the tag or digest.
_Key = tuple[int, str, str, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """The notifications that had arrived when a read of the database began.

    Attributes:
        count: the number for the repository, and for those that share its counter.
        epoch: the number for all repositories, and of lost connections.
    """

    count: int
    epoch: int


@dataclass(frozen=True, slots=True)
class _Kept:
    manifest: Manifest
    reading: Reading


class TagCache:
    """Manifests by tag and digest; safe for any thread.

    One thread, the listener, calls `forget`, `prove` and `distrust`. Without it, nothing is kept.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._kept: BoundedCache[_Key, _Kept] = BoundedCache(_MAXIMUM)
        self._counts = [0] * _COUNTERS
        self._epoch = 0
        self._proven_until = float("-inf")

    @property
    def proven(self) -> bool:
        """Whether every notification of commits before the last second has arrived."""
        return self._monotonic() < self._proven_until

    def get(self, name: RepositoryName, reference: str) -> Manifest | None:
        """Return the manifest of a tag or digest; None if it must be read."""
        if name.id is None:
            return None
        kept = self._kept.get((name.id, name.namespace, name.name, reference))
        if kept is None or kept.reading != self._reading(name.id) or not self.proven:
            return None
        return kept.manifest

    def begin(self, name: RepositoryName) -> Reading | None:
        """Begin to read a manifest from the primary; None if it cannot be kept."""
        return self._reading(name.id) if name.id is not None and self.proven else None

    def put(
        self, name: RepositoryName, reference: str, manifest: Manifest, reading: Reading
    ) -> None:
        """Keep a manifest that was read after `begin`."""
        if name.id is None or len(manifest.content) > _SIZE_MAXIMUM:
            return
        kept = _Kept(manifest, reading)
        for one in {reference, str(manifest.digest)}:
            self._kept.put((name.id, name.namespace, name.name, one), kept)

    def forget(self, payload: str) -> None:
        """Forget what a notification names: the id of a repository, or ALL."""
        if payload == ALL:
            self._forget_all()
        else:
            self._counts[int(payload) % _COUNTERS] += 1

    def prove(self, until: float) -> None:
        """Record that notifications up to now have arrived, so that values are valid for a moment.

        Args:
            until: the end of this moment on the monotonic clock.
        """
        self._proven_until = until

    def distrust(self) -> None:
        """Forget everything, and keep nothing until the next proof."""
        self._proven_until = float("-inf")
        self._forget_all()

    def _forget_all(self) -> None:
        self._epoch += 1
        self._kept.clear()

    def _reading(self, repository_id: int) -> Reading:
        return Reading(self._counts[repository_id % _COUNTERS], self._epoch)
