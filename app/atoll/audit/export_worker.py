"""Export parts of the log to files in a store, and send their URLs to the callback URLs.

An export is claimed with a lease on the database's clock. A failed export is retried with
exponential backoff; the last failure is reported to the callback URL. Namespaces take turns.
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
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.notifications.fair_dispatcher import FairDispatcher
from atoll.notifications.receivers import NotReceived, Receivers
from atoll.outbound.errors import OutboundError
from atoll.storage.errors import StoreError
from atoll.storage.multipart import PartsWriter

log = logging.getLogger(__name__)

EXPORTED = Counter("atoll_log_exports", "Exports of the log by outcome", ["outcome"])

_LEASE_SECONDS = 120
_ATTEMPTS_MAXIMUM = 8
_BACKOFF_SECONDS = 10
_POLL_SECONDS = 2.0
# Concurrent exports of one process, in total and for one namespace.
_CONCURRENT, _CONCURRENT_PER_NAMESPACE = 2, 1
_BATCH = 1000
_SUCCESS, _FAILED = "success", "failed"
_DATE = "%m/%d/%Y"

# Claim the oldest due export of the first namespace after %(after)s that has one.
_CLAIM = """
WITH next AS (
    SELECT uuid FROM logexport
    WHERE ended_at IS NULL AND available_at <= clock_timestamp()
      AND (lease_expires IS NULL OR lease_expires <= clock_timestamp())
      AND namespace <> ALL(%(busy)s::text[])
    ORDER BY namespace <= %(after)s, namespace, available_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE logexport e SET lease_token = gen_random_uuid(), attempts = attempts + 1,
    lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s)
FROM next WHERE e.uuid = next.uuid
RETURNING e.uuid, e.lease_token, e.attempts, e.namespace, e.repository, e.start_time, e.end_time,
          e.callback_url, e.location
"""

# Extend the lease.
_EXTEND = """
UPDATE logexport SET lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE uuid = %(uuid)s AND lease_token = %(token)s RETURNING uuid
"""

# Record the location and size of the written file.
_WRITTEN = """
UPDATE logexport SET location = %(location)s, size = %(size)s
WHERE uuid = %(uuid)s AND lease_token = %(token)s RETURNING uuid
"""

# Release the export for a later attempt.
_RETRY = """
UPDATE logexport SET lease_token = NULL, lease_expires = NULL, last_error = %(error)s,
    available_at = clock_timestamp() + make_interval(secs => %(wait)s)
WHERE uuid = %(uuid)s AND lease_token = %(token)s
"""

# Mark the export as finished.
_FINISHED = """
UPDATE logexport SET ended_at = clock_timestamp(), lease_token = NULL, lease_expires = NULL
WHERE uuid = %(uuid)s AND lease_token = %(token)s
"""


class LeaseLost(Exception):
    """The lease expired, and another process claimed the export."""


@dataclass(frozen=True)
class Export:
    """A claimed export.

    `callback_url` is encrypted; `location` is None until the file is written.
    """

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
        """The parameters that identify the lease in later statements."""
        return {"uuid": self.uuid, "token": self.lease_token, "seconds": _LEASE_SECONDS}

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields of log records about the export."""
        return {"export": str(self.uuid), "attempts": self.attempts}


class LogExporter:
    """Exports logs in background threads.

    The pause after a failure is `backoff_seconds`, doubled with each further attempt.
    """

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
        self._dispatcher = FairDispatcher(
            "log-exporter",
            self._claim,
            self._export,
            slots=_CONCURRENT,
            per_group=_CONCURRENT_PER_NAMESPACE,
            poll_seconds=_POLL_SECONDS,
        )

    def start(self) -> None:
        """Start exporting in the background."""
        self._dispatcher.start()

    def stop(self) -> None:
        """Stop after finishing the running exports."""
        self._dispatcher.stop()

    def run_once(self) -> bool:
        """Attempt one export, and return whether there was one."""
        claimed = self._claim(None, [])
        if claimed is not None:
            self._export(claimed[1])
        return claimed is not None

    def _claim(self, after: str | None, busy: list[str]) -> tuple[str, Export] | None:
        """Claim the oldest export of the first namespace after `after` that has one."""
        rows = self._database.run(
            _CLAIM, {"after": after or "", "busy": busy, "seconds": _LEASE_SECONDS}
        )
        if not rows:
            return None
        export = Export(*rows[0])
        return export.namespace, export

    def _export(self, export: Export) -> None:
        """Attempt an export, and record the outcome."""
        if export.attempts > _ATTEMPTS_MAXIMUM:
            # Earlier attempts ended without recording an outcome, for example with the process.
            self._end_as_failed(export)
            return
        try:
            location = self._written(export) or self._write(export)
            self._report(export, _SUCCESS, self._links.url(export.uuid, location, time.time))
        except LeaseLost:
            log.warning("lease lost", extra=export.log_fields)
        except DatabaseUnavailable:
            # The outcome cannot be recorded. The export is claimed again after its lease expires.
            raise
        except (StoreError, OutboundError, NotReceived, SecretUnreadable) as error:
            log.warning("log export failed", extra={**export.log_fields, "cause": str(error)})
            self._failed(export, str(error))
        except Exception as error:
            # An export that triggers a bug must not be retried indefinitely.
            log.exception("unhandled exception", extra=export.log_fields)
            self._failed(export, f"{type(error).__name__}: {error}")
        else:
            EXPORTED.labels("delivered").inc()
            log.info("log exported", extra=export.log_fields)

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

    def _written(self, export: Export) -> str | None:
        """Return the location to which an earlier attempt wrote the file, if it still exists."""
        return export.location if export.location in self._links.locations.stores else None

    def _write(self, export: Export) -> str:
        """Write the file and return its location.

        Raises:
            LeaseLost: Another process claimed the export.
            StoreError: The store failed.
        """
        location = self._links.locations.selection.to_write()
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
        """Yield the document in Quay's format, in pieces."""
        details = {**_days(export), "namespace": export.namespace, "repository": export.repository}
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

    def _report(self, export: Export, status: str, url: str | None) -> None:
        """Send the outcome to the callback URL, and mark the export as finished.

        Raises:
            OutboundError, NotReceived, SecretUnreadable: The outcome could not be sent.
        """
        document = {
            "export_id": str(export.uuid),
            **_days(export),
            "namespace": export.namespace,
            "repository": export.repository,
            "exported_data_url": url,
            "status": status,
        }
        address = self._cipher.decrypt(export.callback_url, CALLBACK_PURPOSE)
        self._receivers.post(address, document)
        self._database.run(_FINISHED, export.lease)

    def _failed(self, export: Export, error: str) -> None:
        if export.attempts < _ATTEMPTS_MAXIMUM:
            EXPORTED.labels("failed").inc()
            wait = self._backoff_seconds * 2 ** (export.attempts - 1)
            # Text in PostgreSQL cannot contain NUL.
            text = error[:1000].replace("\0", "")
            self._database.run(_RETRY, {**export.lease, "error": text, "wait": wait})
            return
        try:
            self._report(export, _FAILED, None)
        except DatabaseUnavailable:
            raise
        except Exception as report_error:
            cause = f"{type(report_error).__name__}: {report_error}"
            log.warning(
                "could not report failed log export", extra={**export.log_fields, "cause": cause}
            )
        self._end_as_failed(export)

    def _end_as_failed(self, export: Export) -> None:
        EXPORTED.labels("given up").inc()
        self._database.run(_FINISHED, export.lease)


def _days(export: Export) -> dict[str, str]:
    """Return the first and the last day of an export, as they were requested."""
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
