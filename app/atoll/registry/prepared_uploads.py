"""Uploads that are recorded before a client starts them, in the memory of one process.

With FEATURE_TAG_CACHE, the statement that ends an upload records the next one of the same user and
repository. A client that pushes one layer after another then starts it without a round trip to the
database. Whether the repository may be changed is checked again at the end of each upload, so this
memory decides nothing: an outdated entry costs the client a refused or repeated request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

from atoll.names import NO_REPOSITORY, RepositoryName

# Seconds in which a client starts a prepared upload. A client that pushes one layer after another
# needs the time of two existence checks, and of compressing the layer.
LIFE_SECONDS = 5
# The number of prepared uploads, and that of unused ones that one statement deletes.
MAXIMUM = 64

Key = tuple[int, str | None]


@dataclass(frozen=True)
class PreparedUpload:
    """A recorded upload without content.

    Attributes:
        uuid: The upload's id.
        excluded: The locations that the repository's policy excluded when it was recorded.
        end: The time of `time.monotonic` after which it is not used.
    """

    uuid: UUID
    excluded: tuple[str, ...]
    end: float


@dataclass(frozen=True)
class Preparation:
    """What the statement that ends an upload does for later ones.

    Attributes:
        uuid: The id of an upload that it records; None if there is one already.
        unused: Uploads that no client has started, and none will start, which it deletes.
    """

    uuid: UUID | None
    unused: list[UUID]


NO_PREPARATION = Preparation(None, [])


class PreparedUploads:
    """At most one prepared upload for each user and repository.

    There is none for a name that is not bound to a repository, which may be another one later.

    Args:
        clock: Returns seconds that never decrease.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._prepared: dict[Key, PreparedUpload] = {}
        self._unused: list[UUID] = []

    def take(self, name: RepositoryName, username: str | None) -> PreparedUpload | None:
        """Return a prepared upload that nothing else gets, or None.

        Args:
            name: The repository.
            username: The user; None for anonymous clients.
        """
        key = _key(name, username)
        with self._lock:
            self._expire()
            return self._prepared.pop(key, None) if key else None

    def preparation(self, name: RepositoryName, username: str | None) -> Preparation:
        """Return what the end of an upload does for a user and a repository.

        Uploads that are not deleted, for example because the statement fails or the process ends,
        are deleted with the abandoned ones.
        """
        key = _key(name, username)
        with self._lock:
            self._expire()
            unused, self._unused = self._unused[:MAXIMUM], self._unused[MAXIMUM:]
            is_wanted = key is not None and key not in self._prepared
            return Preparation(uuid4() if is_wanted else None, unused)

    def keep(
        self, name: RepositoryName, username: str | None, uuid: UUID, excluded: tuple[str, ...]
    ) -> None:
        """Keep an upload that was recorded as `preparation` says."""
        prepared = PreparedUpload(uuid, excluded, self._clock() + LIFE_SECONDS)
        key = _key(name, username)
        if key is None:
            return
        with self._lock:
            if key in self._prepared:
                self._discard(key)
            elif len(self._prepared) >= MAXIMUM:
                self._discard(next(iter(self._prepared)))
            self._prepared[key] = prepared

    def _expire(self) -> None:
        now = self._clock()
        for key in [key for key, prepared in self._prepared.items() if prepared.end <= now]:
            self._discard(key)

    def _discard(self, key: Key) -> None:
        self._unused.append(self._prepared.pop(key).uuid)


def _key(name: RepositoryName, username: str | None) -> Key | None:
    if name.id is None or name.id == NO_REPOSITORY:
        return None
    return name.id, username
