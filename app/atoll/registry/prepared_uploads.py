"""Uploads that are recorded before a client starts them, in the memory of one process.

The statement that ends an upload records the next one of the same user and repository. A client
that pushes one layer after another then starts it without a round trip to the database. Whether the
repository may be changed is checked again at the end of each upload, so this memory decides
nothing: an outdated entry costs the client a refused or repeated request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

from atoll.names import RepositoryName

# Seconds in which a client starts a prepared upload. A client that pushes one layer after another
# needs the time of two existence checks, and of compressing the layer.
LIFE_SECONDS = 5
# The number of prepared uploads, and that of unused ones that one statement deletes.
MAXIMUM = 64

Key = tuple[str, int | None, str | None]


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
            name: The repository; another repository of the same name has another id.
            username: The user; None for anonymous clients.
        """
        with self._lock:
            self._expire()
            return self._prepared.pop(_key(name, username), None)

    def preparation(self, name: RepositoryName, username: str | None) -> Preparation:
        """Return what the end of an upload does for a user and a repository.

        Uploads that are not deleted, for example because the statement fails or the process ends,
        are deleted with the abandoned ones.
        """
        with self._lock:
            self._expire()
            unused, self._unused = self._unused[:MAXIMUM], self._unused[MAXIMUM:]
            wanted = _key(name, username) not in self._prepared
            return Preparation(uuid4() if wanted else None, unused)

    def keep(
        self, name: RepositoryName, username: str | None, uuid: UUID, excluded: tuple[str, ...]
    ) -> None:
        """Keep an upload that was recorded for a user and a repository."""
        prepared = PreparedUpload(uuid, excluded, self._clock() + LIFE_SECONDS)
        key = _key(name, username)
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


def _key(name: RepositoryName, username: str | None) -> Key:
    # Names that are bound to different repositories are equal.
    return str(name), name.id, username
