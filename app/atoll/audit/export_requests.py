"""Parts of the log that somebody wants as a file: asked for here, written by `log_exporter`.

The file is at a store for a while; who asked is told where. Where clients cannot be sent to that
store, the registry sends it itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

import jwt

from atoll.audit.log import Selection
from atoll.auth.secrets import Cipher
from atoll.auth.tokens import signing_key
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.storage.errors import ObjectMissing
from atoll.storage.locations import Locations

CALLBACK_PURPOSE = "log export"
# Unfinished exports of one namespace.
_UNFINISHED_MAXIMUM = 10
# Where the registry serves a file itself.
PATH = "/exportedlogs"
_ALGORITHM = "HS256"


class ExportUnknown(Exception):
    """There is no such file (any more)."""

    def __init__(self) -> None:
        super().__init__("there is no such export, or its time is over")


class TooManyExports(Exception):
    """A namespace has as many unfinished exports as it may have; `seconds` until a new try."""

    seconds = 60

    def __init__(self, namespace: str) -> None:
        super().__init__(
            f"'{namespace}' has {_UNFINISHED_MAXIMUM} unfinished exports, the maximum; try again"
            " when one has ended"
        )


@dataclass(frozen=True)
class ExportLinks:
    """Makes and reads the addresses of files, each good for `seconds`; `base` is the registry's."""

    key: bytes
    base: str
    seconds: int
    directory: str
    proxied: bool
    locations: Locations

    @classmethod
    def from_bundle(cls, bundle: Bundle, locations: Locations) -> ExportLinks:
        """Return what EXPORT_ACTION_LOGS_SECONDS and its neighbours say."""
        return cls(
            signing_key(bundle, "log export"),
            f"{bundle.preferred_url_scheme}://{bundle.server_hostname}",
            bundle.export_action_logs_seconds,
            bundle.export_action_logs_storage_path,
            bundle.feature_proxy_storage,
            locations,
        )

    def object_key(self, uuid: UUID) -> str:
        """Return the key of an export's object."""
        return f"{self.directory}/{uuid}.json"

    def url(self, uuid: UUID, location: str, now: Callable[[], float]) -> str:
        """Return an address by which anybody who has it gets the file, until it ends."""
        store = self.locations.stores[location]
        found = None if self.proxied else store.presigned_url(self.object_key(uuid), self.seconds)
        if found is not None:
            return found
        claims = {"sub": str(uuid), "exp": int(now()) + self.seconds}
        return f"{self.base}{PATH}?token={jwt.encode(claims, self.key, algorithm=_ALGORITHM)}"

    def export(self, token: str) -> UUID:
        """Return the export that an address of ours is for, or raise ExportUnknown."""
        try:
            claims = jwt.decode(
                token, self.key, algorithms=[_ALGORITHM], options={"require": ["exp", "sub"]}
            )
        except jwt.InvalidTokenError as error:
            raise ExportUnknown from error
        return UUID(claims["sub"])


class LogExports:
    """All exports: asks for them, and gives the files out."""

    def __init__(self, database: Database, cipher: Cipher, links: ExportLinks) -> None:
        self._database = database
        self._cipher = cipher
        self._links = links

    def ask(self, selection: Selection, callback_url: str) -> UUID:
        """Request an export whose file is announced to CALLBACK_URL, and return its id.

        Raises:
            TooManyExports: the namespace has too many that are unfinished.
        """
        rows = self._database.run(
            """
            INSERT INTO logexport (namespace, repository, start_time, end_time, callback_url)
            SELECT %(namespace)s, %(repository)s, %(start)s, %(end)s, %(callback_url)s
            WHERE (SELECT count(*) FROM logexport
                   WHERE namespace = %(namespace)s AND ended_at IS NULL) < %(maximum)s
            RETURNING uuid
            """,
            {
                "namespace": selection.namespace,
                "repository": selection.repository,
                "start": selection.start,
                "end": selection.end,
                "callback_url": self._cipher.encrypt(callback_url, CALLBACK_PURPOSE),
                "maximum": _UNFINISHED_MAXIMUM,
            },
        )
        if not rows:
            raise TooManyExports(selection.namespace or "")
        return UUID(str(rows[0][0]))

    def open(self, token: str) -> tuple[int, Iterator[bytes]]:
        """Return the size of the file that TOKEN is for, and its bytes. Raises ExportUnknown."""
        uuid = self._links.export(token)
        rows = self._database.read("SELECT location, size FROM logexport WHERE uuid = %s", [uuid])
        store = self._links.locations.stores.get(rows[0][0]) if rows else None
        if store is None:
            raise ExportUnknown
        try:
            pieces = store.read(self._links.object_key(uuid))
            # What is wrong with the store shows with the first piece.
            first = next(pieces, b"")
        except ObjectMissing as error:
            raise ExportUnknown from error
        return int(rows[0][1]), _joined(first, pieces)


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
