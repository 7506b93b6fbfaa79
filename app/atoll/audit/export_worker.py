"""Export parts of the log to files at a store, and send the file's URL to the callback URL.

A failed export is retried with a growing back-off; the last failure is reported to the callback
URL. Namespaces take turns.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from atoll.audit.export_requests import CALLBACK_PURPOSE, ExportLinks
from atoll.audit.log import Audit, Entry, Selection
from atoll.auth.secrets import Cipher, SecretUnreadable
from atoll.db.leased_queue import Backoff, LeasedQueue, LeasedTable, LeaseLost, unleased
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.queue_worker import QueueWorker
from atoll.notifications.receivers import NotReceived, Receivers
from atoll.outbound.errors import OutboundError
from atoll.storage.errors import StoreError
from atoll.storage.multipart import PartsWriter

log = logging.getLogger(__name__)

EXPORTED = Counter("atoll_log_exports", "Exports of the log by outcome", ["outcome"])

_LEASE_SECONDS = 120
_ATTEMPTS_MAXIMUM = 8
_BACKOFF_SECONDS = 10
_BACKOFF_MAXIMUM_SECONDS = 3600
_POLL_SECONDS = 2.0
# Concurrent exports of one process, and for one namespace.
_CONCURRENT, _CONCURRENT_PER_NAMESPACE = 2, 1
_BATCH = 1000
_SUCCESS, _FAILED = "success", "failed"
_DATE = "%m/%d/%Y"

_TABLE = LeasedTable("logexport", key="uuid", key_type="uuid")

_CLAIM = f"""
WITH next AS (
    SELECT e.uuid FROM logexport e
    WHERE e.ended_at IS NULL AND e.available_at <= clock_timestamp() AND {unleased("e")}
      AND e.namespace <> ALL(%(busy)s::text[])
    ORDER BY e.namespace <= %(after)s, e.namespace, e.available_at LIMIT 1 FOR UPDATE SKIP LOCKED
), {_TABLE.claimed}
SELECT uuid, lease_token, attempts, namespace, repository, start_time, end_time, callback_url,
       location
FROM claimed
"""

_RECORD_FILE = f"""
UPDATE logexport SET location = %(location)s, size = %(size)s
WHERE {_TABLE.is_held} RETURNING uuid
"""

_END = f"""
UPDATE logexport SET ended_at = clock_timestamp(), lease_token = NULL, lease_expires = NULL
WHERE {_TABLE.is_held}
"""


@dataclass(frozen=True)
class Export:
    """A claimed export.

    `callback_url` is encrypted; `location` is None until the file is written.
    """

    id: UUID
    lease_token: UUID
    attempts: int
    namespace: str
    repository: str | None
    start: datetime
    end: datetime
    callback_url: str
    location: str | None

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields of log records about this export."""
        return {"export": str(self.id), "attempts": self.attempts}


class LogExporter(QueueWorker[str, Export]):
    """Writes exports in background threads."""

    job_name = "log export"
    expected = (StoreError, OutboundError, NotReceived, SecretUnreadable)
    attempts_maximum = _ATTEMPTS_MAXIMUM

    def __init__(
        self,
        database: Database,
        cipher: Cipher,
        receivers: Receivers,
        links: ExportLinks,
        *,
        backoff_seconds: float = _BACKOFF_SECONDS,
    ) -> None:
        """Make the exporter.

        Args:
            database: where the log and the queue are.
            cipher: decrypts callback URLs.
            receivers: sends documents to callback URLs.
            links: builds the URLs of files.
            backoff_seconds: pause after the first attempt, which doubles with each attempt.
        """
        super().__init__(
            "log-exporter",
            slots=_CONCURRENT,
            per_group=_CONCURRENT_PER_NAMESPACE,
            poll_seconds=_POLL_SECONDS,
        )
        self._database = database
        self._queue = LeasedQueue(
            database,
            _TABLE,
            lease_seconds=_LEASE_SECONDS,
            backoff=Backoff(backoff_seconds, _BACKOFF_MAXIMUM_SECONDS),
        )
        self._audit = Audit(database)
        self._cipher = cipher
        self._receivers = receivers
        self._links = links

    def delete_expired(self) -> int:
        """Delete expired files and their records, and return their number."""
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

    def _claim(self, after: str | None, busy: list[str]) -> tuple[str, Export] | None:
        """Claim the oldest export of the first namespace after `after` that has one."""
        rows = self._queue.claim(_CLAIM, {"after": after or "", "busy": busy})
        if not rows:
            return None
        export = Export(*rows[0])
        return export.namespace, export

    def _attempt(self, job: Export) -> None:
        """Write the file, unless an earlier attempt did, and send its URL.

        Raises:
            StoreError: the file could not be written.
            OutboundError, NotReceived, SecretUnreadable: the URL could not be sent.
            LeaseLost: another process claimed the export.
        """
        location = self._written(job) or self._write(job)
        self._report(job, _SUCCESS, self._links.url(job.id, location, time.time))

    def _succeeded(self, job: Export) -> None:
        EXPORTED.labels("delivered").inc()
        log.info("log exported", extra=job.log_fields)

    def _release(self, job: Export, error: str) -> None:
        EXPORTED.labels("failed").inc()
        self._queue.release(job, error)

    def _abandon(self, job: Export, error: str | None) -> None:
        if error is not None:
            self._report_failure(job)
        EXPORTED.labels("given up").inc()
        self._queue.finish(job, _END)

    def _written(self, export: Export) -> str | None:
        """Return the location of the file of an earlier attempt, if it is still configured."""
        return export.location if export.location in self._links.locations.stores else None

    def _write(self, export: Export) -> str:
        """Write the file and return its location.

        Raises:
            StoreError: the file could not be written.
            LeaseLost: another process claimed the export.
        """
        location = self._links.locations.selection.to_write()
        store = self._links.locations.stores[location]
        size = 0
        with PartsWriter(store, self._links.object_key(export.id), size) as writer:
            for text in self._texts(export):
                data = text.encode()
                writer.write(data)
                size += len(data)
            writer.finish()
        values = {"location": location, "size": size}
        if not self._queue.finish(export, _RECORD_FILE, values):
            raise LeaseLost
        return location

    def _texts(self, export: Export) -> Iterator[str]:
        """Yield the document in Quay's format, in pieces."""
        details = {**_days(export), "namespace": export.namespace, "repository": export.repository}
        yield f'{{"export_id": "{export.id}", "details": {json.dumps(details)}, "logs": [\n'
        selection = Selection(export.start, export.end, export.namespace, export.repository)
        before: int | None = None
        while True:
            entries, before = self._audit.list(selection, before, _BATCH)
            for entry in entries:
                yield json.dumps(_document(entry)) + ",\n"
            if before is None:
                break
            if not self._queue.extend([export]):
                raise LeaseLost
        yield '{"terminator": true}]}\n'

    def _report(self, export: Export, status: str, url: str | None) -> None:
        """Send the outcome to the callback URL and end the export.

        Raises:
            OutboundError, NotReceived, SecretUnreadable: the outcome could not be sent.
        """
        document = {
            "export_id": str(export.id),
            **_days(export),
            "namespace": export.namespace,
            "repository": export.repository,
            "exported_data_url": url,
            "status": status,
        }
        address = self._cipher.decrypt(export.callback_url, CALLBACK_PURPOSE)
        self._receivers.post(address, document)
        self._queue.finish(export, _END)

    def _report_failure(self, export: Export) -> None:
        try:
            self._report(export, _FAILED, None)
        except DatabaseUnavailable:
            raise
        except Exception as failure:
            cause = f"{type(failure).__name__}: {failure}"
            log.warning(
                "could not report failed log export", extra={**export.log_fields, "cause": cause}
            )


def _days(export: Export) -> dict[str, str]:
    """Return the first and the last requested day of an export."""
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
