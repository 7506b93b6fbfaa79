"""Requests for log exports, which `export_worker` writes to files.

The file stays in a store for a limited time, and its URL is sent to the callback URL of the
request. If clients cannot be redirected to the store, the registry serves the file itself.
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
# The maximum number of unfinished exports of a namespace.
_UNFINISHED_MAXIMUM = 10
# The path at which the registry serves files itself.
PATH = "/exportedlogs"
_ALGORITHM = "HS256"


class ExportUnknown(Exception):
    """The export does not exist or has expired."""

    def __init__(self) -> None:
        super().__init__("there is no such export, or it has expired")


class TooManyExports(Exception):
    """A namespace has too many unfinished exports; clients may retry after `seconds`."""

    seconds = 60

    def __init__(self, namespace: str) -> None:
        super().__init__(
            f"'{namespace}' has the maximum of {_UNFINISHED_MAXIMUM} unfinished exports; try again"
            " when one has finished"
        )


@dataclass(frozen=True)
class ExportLinks:
    """Creates and verifies the URLs of exported files.

    Attributes:
        key: The key that signs URLs of the registry.
        base: The registry's base URL.
        seconds: The lifetime of files and URLs, in seconds.
        directory: The prefix of the files' object keys.
        proxied: Whether the registry serves all files itself.
        locations: The stores.
    """

    key: bytes
    base: str
    seconds: int
    directory: str
    proxied: bool
    locations: Locations

    @classmethod
    def from_bundle(cls, bundle: Bundle, locations: Locations) -> ExportLinks:
        """Return the links for the EXPORT_ACTION_LOGS keys of the bundle."""
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
        """Return a URL of the file that needs no further authentication until it expires.

        Args:
            uuid: The export's id.
            location: The location of the file.
            now: Returns the current time, in seconds since the epoch.
        """
        store = self.locations.stores[location]
        found = None if self.proxied else store.presigned_url(self.object_key(uuid), self.seconds)
        if found is not None:
            return found
        claims = {"sub": str(uuid), "exp": int(now()) + self.seconds}
        return f"{self.base}{PATH}?token={jwt.encode(claims, self.key, algorithm=_ALGORITHM)}"

    def export(self, token: str) -> UUID:
        """Return the id of the export in a token of `url`.

        Raises:
            ExportUnknown: The token is invalid or has expired.
        """
        try:
            claims = jwt.decode(
                token, self.key, algorithms=[_ALGORITHM], options={"require": ["exp", "sub"]}
            )
        except jwt.InvalidTokenError as error:
            raise ExportUnknown from error
        return UUID(claims["sub"])


class LogExports:
    """Creates requests for exports, and opens the files of finished ones."""

    def __init__(self, database: Database, cipher: Cipher, links: ExportLinks) -> None:
        self._database = database
        self._cipher = cipher
        self._links = links

    def request(self, selection: Selection, callback_url: str) -> UUID:
        """Request an export and return its id; the file's URL is sent to the callback URL.

        Raises:
            TooManyExports: The namespace has the maximum number of unfinished exports.
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
        """Return the size and the bytes of a file.

        Raises:
            ExportUnknown: The token is invalid or has expired, or the file was deleted.
        """
        uuid = self._links.export(token)
        rows = self._database.read("SELECT location, size FROM logexport WHERE uuid = %s", [uuid])
        store = self._links.locations.stores.get(rows[0][0]) if rows else None
        if store is None:
            raise ExportUnknown
        try:
            pieces = store.read(self._links.object_key(uuid))
            # The first piece is read here, so that errors of the store are raised here.
            first = next(pieces, b"")
        except ObjectMissing as error:
            raise ExportUnknown from error
        return int(rows[0][1]), _joined(first, pieces)


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
