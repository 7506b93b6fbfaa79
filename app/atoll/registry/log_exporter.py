"""Write parts of the log to files at a store, in the background, and tell who asked where they are.

An export is claimed with a lease on the database's clock. What fails is tried again, later each
time; in the end the receiver is told that it failed.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from atoll.auth.audit import Audit, Entry, Selection
from atoll.auth.secrets import Cipher, SecretUnreadable
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.notifications.receivers import NotReceived, Receivers
from atoll.outbound.errors import OutboundError
from atoll.registry.log_exports import CALLBACK_PURPOSE, ExportLinks
from atoll.storage.errors import StoreError
from atoll.storage.multipart import PartsWriter

log = logging.getLogger(__name__)

EXPORTED = Counter("atoll_log_exports", "Exports of the log, by what became of them", ["outcome"])

_LEASE_SECONDS = 120
_ATTEMPTS_MAXIMUM = 8
_BACKOFF_SECONDS = 10
_POLL_SECONDS = 2.0
_BATCH = 1000
_SUCCESS, _FAILED = "success", "failed"
_DATE = "%m/%d/%Y"

_CLAIM = """
WITH next AS (
    SELECT uuid FROM logexport
    WHERE ended_at IS NULL AND available_at <= clock_timestamp()
      AND (lease_expires IS NULL OR lease_expires <= clock_timestamp())
    ORDER BY available_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE logexport e SET lease_token = gen_random_uuid(), attempts = attempts + 1,
    lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s)
FROM next WHERE e.uuid = next.uuid
RETURNING e.uuid, e.lease_token, e.attempts, e.namespace, e.repository, e.start_time, e.end_time,
          e.callback_url, e.location
"""

_EXTEND = """
UPDATE logexport SET lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE uuid = %(uuid)s AND lease_token = %(token)s RETURNING uuid
"""

_WRITTEN = """
UPDATE logexport SET location = %(location)s, size = %(size)s
WHERE uuid = %(uuid)s AND lease_token = %(token)s RETURNING uuid
"""

_LATER = """
UPDATE logexport SET lease_token = NULL, lease_expires = NULL, last_error = %(error)s,
    available_at = clock_timestamp() + make_interval(secs => %(wait)s)
WHERE uuid = %(uuid)s AND lease_token = %(token)s
"""

_ENDED = """
UPDATE logexport SET ended_at = clock_timestamp(), lease_token = NULL, lease_expires = NULL
WHERE uuid = %(uuid)s AND lease_token = %(token)s
"""


class LeaseLost(Exception):
    """Another process does this export now."""


@dataclass(frozen=True)
class Export:
    """An export that is being done. CALLBACK_URL is encrypted; LOCATION is None until written."""

    uuid: UUID
    lease_token: UUID
    attempts: int
    namespace: str
    repository: str | None
    start: datetime
    end: datetime
    callback_url: str
    location: str | None

    @property
    def lease(self) -> dict[str, object]:
        """What every later statement names."""
        return {"uuid": self.uuid, "token": self.lease_token, "seconds": _LEASE_SECONDS}


class LogExporter:
    """Does exports, in a thread of its own. BACKOFF_SECONDS doubles with each attempt."""

    def __init__(
        self,
        database: Database,
        cipher: Cipher,
        receivers: Receivers,
        links: ExportLinks,
        *,
        backoff_seconds: float = _BACKOFF_SECONDS,
    ) -> None:
        self._database = database
        self._audit = Audit(database)
        self._cipher = cipher
        self._receivers = receivers
        self._links = links
        self._backoff_seconds = backoff_seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to export."""
        self._thread = threading.Thread(
            target=self._export_for_ever, name="log-exporter", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Finish what is in hand, and end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def run_once(self) -> bool:
        """Do the export that has waited longest; False if there is none."""
        rows = self._database.run(_CLAIM, {"seconds": _LEASE_SECONDS})
        if not rows:
            return False
        export = Export(*rows[0])
        try:
            location = self._written(export) or self._write(export)
            self._tell(export, _SUCCESS, self._links.url(export.uuid, location, time.time))
        except LeaseLost:
            log.warning("export taken over by another process", extra={"export": str(export.uuid)})
        except (StoreError, OutboundError, NotReceived, SecretUnreadable) as error:
            self._failed(export, str(error))
        else:
            EXPORTED.labels("delivered").inc()
            log.info("log exported", extra={"export": str(export.uuid)})
        return True

    def clear_away(self) -> int:
        """Take away files whose time is over, and what is known of them; return how many."""
        rows = self._database.read(
            "SELECT uuid, location FROM logexport"
            " WHERE ended_at < clock_timestamp() - make_interval(secs => %s) LIMIT 100",
            [self._links.seconds],
        )
        for uuid, location in rows:
            store = self._links.locations.stores.get(location)
            if store is not None:
                store.delete(self._links.object_key(uuid))
            self._database.run("DELETE FROM logexport WHERE uuid = %s", [uuid])
        return len(rows)

    def _written(self, export: Export) -> str | None:
        """Return where an attempt before wrote the file, if that location is still there."""
        return export.location if export.location in self._links.locations.stores else None

    def _write(self, export: Export) -> str:
        """Write the file, and return where. Raises StoreError or LeaseLost."""
        location = self._links.locations.chooser.to_write()
        store = self._links.locations.stores[location]
        size = 0
        with PartsWriter(store, self._links.object_key(export.uuid), size) as writer:
            for text in self._texts(export):
                data = text.encode()
                writer.write(data)
                size += len(data)
            writer.finish()
        values = {**export.lease, "location": location, "size": size}
        if not self._database.run(_WRITTEN, values):
            raise LeaseLost
        return location

    def _texts(self, export: Export) -> Iterator[str]:
        """Yield the document, as Quay writes it, in pieces."""
        details = {**_named(export), "namespace": export.namespace, "repository": export.repository}
        yield f'{{"export_id": "{export.uuid}", "details": {json.dumps(details)}, "logs": [\n'
        selection = Selection(export.start, export.end, export.namespace, export.repository)
        before: int | None = None
        while True:
            entries, before = self._audit.list(selection, before, _BATCH)
            for entry in entries:
                yield json.dumps(_document(entry)) + ",\n"
            if before is None:
                break
            if not self._database.run(_EXTEND, export.lease):
                raise LeaseLost
        yield '{"terminator": true}]}\n'

    def _tell(self, export: Export, status: str, url: str | None) -> None:
        """Tell the receiver, and end the export. Raises OutboundError or NotReceived."""
        document = {
            "export_id": str(export.uuid),
            **_named(export),
            "namespace": export.namespace,
            "repository": export.repository,
            "exported_data_url": url,
            "status": status,
        }
        address = self._cipher.decrypt(export.callback_url, CALLBACK_PURPOSE)
        self._receivers.post(address, document)
        self._database.run(_ENDED, export.lease)

    def _failed(self, export: Export, error: str) -> None:
        fields = {"export": str(export.uuid), "attempts": export.attempts, "cause": error}
        log.warning("log not exported", extra=fields)
        if export.attempts < _ATTEMPTS_MAXIMUM:
            EXPORTED.labels("failed").inc()
            wait = self._backoff_seconds * 2 ** (export.attempts - 1)
            self._database.run(_LATER, {**export.lease, "error": error[:1000], "wait": wait})
            return
        EXPORTED.labels("given up").inc()
        try:
            self._tell(export, _FAILED, None)
        except (OutboundError, NotReceived, SecretUnreadable) as unheard:
            log.warning("nobody told of an export that failed", extra={"cause": str(unheard)})
            self._database.run(_ENDED, export.lease)

    def _export_for_ever(self) -> None:
        while not self._stop.is_set():
            if not self._turn():
                self._stop.wait(_POLL_SECONDS)

    def _turn(self) -> bool:
        """Do one export if there is one, and survive whatever it meets."""
        try:
            return self.run_once()
        except DatabaseUnavailable as error:
            log.warning("PostgreSQL is away", extra={"cause": str(error)})
        except Exception:
            # A bug in one export must not end the thread that would do all the others.
            log.exception("an export failed for a reason that nobody thought of")
        return False


def _named(export: Export) -> dict[str, str]:
    """Return the first and the last day of an export, as they were asked for."""
    last = export.end - timedelta(days=1)
    return {
        "start_time": export.start.astimezone(UTC).strftime(_DATE),
        "end_time": last.astimezone(UTC).strftime(_DATE),
    }


def _document(entry: Entry) -> dict[str, Any]:
    document: dict[str, Any] = {
        "kind": entry.kind,
        "metadata": dict(entry.metadata),
        "ip": entry.ip,
        "datetime": entry.created_at.isoformat() if entry.created_at else None,
        "namespace": entry.namespace,
        "repository": entry.repository,
    }
    if entry.performer is not None:
        is_robot = "+" in entry.performer
        document["performer"] = {"kind": "user", "name": entry.performer, "is_robot": is_robot}
    return document
