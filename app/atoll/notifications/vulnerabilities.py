"""Notify subscribers of vulnerabilities: one notice for each image, with the worst first.

Vulnerabilities of a new image are in its first report. Later ones are in notifications of the
scanner, which are read and deleted in the background.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from atoll.config.scanner import ScannerKeys
from atoll.db.pool import Database
from atoll.notifications.events import VULNERABILITY_FOUND
from atoll.notifications.subscriptions import FAILURES_MAXIMUM
from atoll.scanning.clair.errors import ScannerError
from atoll.scanning.clair.report import NotificationPage
from atoll.scanning.clairs import Clairs
from atoll.scanning.notices import (
    SecurityNotice,
    items_by_manifest,
    report_notice,
    security_notice,
)
from atoll.scanning.received_notifications import (
    MARK_READ,
    NotificationClaim,
    ReceivedNotifications,
)
from atoll.scanning.report_findings import InvalidReport
from atoll.scanning.scans import ScanClaim, Scans
from atoll.scanning.security_document import counts_of
from atoll.scanning.severities import Severity

log = logging.getLogger(__name__)

# Changes of one notification that are read; an update of the scanner's data may affect many images.
_ITEMS_MAXIMUM = 200_000
_PAGE_ITEMS = 500

# Enqueue a delivery for each subscription whose level selects the notice. The tags are those of the
# image, and of indexes that list it. An image without tags causes no notification.
_ENQUEUE = f"""
INSERT INTO notificationdelivery (notification_id, namespace_id, event_data)
SELECT n.id, r.namespace_user_id, jsonb_build_object('tags', tagged.names) || %(event_data)s::jsonb
FROM manifest m JOIN repository r ON r.id = m.repository_id
CROSS JOIN LATERAL (
    SELECT jsonb_agg(DISTINCT t.name) AS names FROM tag t
    WHERE t.repository_id = m.repository_id
      AND (t.lifetime_end_ms IS NULL OR t.lifetime_end_ms > extract(epoch FROM now()) * 1000)
      AND (t.manifest_id = m.id OR t.manifest_id IN (
          SELECT mc.manifest_id FROM manifestchild mc WHERE mc.child_manifest_id = m.id))
) AS tagged
JOIN repositorynotification n ON n.repository_id = m.repository_id
WHERE m.digest = %(digest)s AND m.deleted_at IS NULL AND tagged.names IS NOT NULL
  AND n.event = '{VULNERABILITY_FOUND.name}' AND n.number_of_failures < {FAILURES_MAXIMUM}
  AND %(level)s <= CASE WHEN n.event_config ->> 'level' ~ '^[0-5]$'
                        THEN (n.event_config ->> 'level')::int ELSE {Severity.UNKNOWN.level} END
FOR KEY SHARE OF n
"""


class VulnerabilityNotices:
    """Writes notices of vulnerabilities for subscribers."""

    def __init__(
        self,
        database: Database,
        clairs: Clairs,
        scans: Scans,
        received: ReceivedNotifications,
        keys: ScannerKeys,
    ) -> None:
        """Provide the notices.

        Args:
            database: Where deliveries are enqueued.
            clairs: The scanners.
            scans: Where counts by severity are stored.
            received: The notifications of the scanners.
            keys: Whether and from which severity subscribers are notified.
        """
        self._database = database
        self._clairs = clairs
        self._scans = scans
        self._received = received
        self._enabled = keys.feature_security_notifications
        self._on_new_index = keys.feature_security_scanner_notify_on_new_index
        self._minimum = Severity.parse(keys.notification_min_severity_on_new_index)

    def reported(self, claim: ScanClaim, content: bytes) -> None:
        """Notify subscribers of the vulnerabilities of an image after its first scan.

        Args:
            claim: The image.
            content: Its report, as JSON.
        """
        if claim.is_rescan or not (self._enabled and self._on_new_index):
            return
        notice = report_notice(json.loads(content), self._minimum)
        if notice is not None:
            self._database.run(_ENQUEUE, _delivery(str(claim.digest), notice))

    def step(self) -> bool:
        """Process a notification of the scanner, and return whether one was due."""
        claim = self._received.claim()
        if claim is None:
            return False
        try:
            if not claim.is_read:
                self._write(claim)
            self._clairs.first(lambda client: client.delete_notification(claim.id))
        except (ScannerError, InvalidReport) as error:
            log.warning(
                "notification not processed",
                extra={"notification": str(claim.id), "cause": str(error)},
            )
            self._received.retry(claim, str(error))
        else:
            self._received.end(claim)
        return True

    def _write(self, claim: NotificationClaim) -> None:
        """Write the notices of a notification in one transaction, so that none is written twice."""
        affected = items_by_manifest(self._items(claim))
        notices = {
            str(digest): notice
            for digest, items in affected.items()
            if (notice := self._notice(str(digest), items)) is not None
        }
        with self._database.transaction() as cursor:
            cursor.execute(MARK_READ, {"id": claim.id, "token": claim.lease_token})
            if not cursor.fetchall():
                log.warning("lease lost", extra={"notification": str(claim.id)})
                return
            for digest, notice in notices.items() if self._enabled else ():
                cursor.execute(_ENQUEUE, _delivery(digest, notice))
        log.info(
            "vulnerabilities changed",
            extra={"notification": str(claim.id), "images": len(affected), "notices": len(notices)},
        )

    def _items(self, claim: NotificationClaim) -> Iterator[Mapping[str, Any]]:
        """Read the changes that a notification announces."""
        position: str | None = None
        number = 0
        while number < _ITEMS_MAXIMUM:
            page = self._page(claim, position)
            for item in page.notifications:
                number += 1
                yield item.model_dump(mode="json")
            position = page.page.next
            if not position:
                return
        log.warning("notification too large", extra={"notification": str(claim.id)})

    def _page(self, claim: NotificationClaim, position: str | None) -> NotificationPage:
        return self._clairs.first(
            lambda client: client.notification_page(claim.id, _PAGE_ITEMS, position)
        )

    def _notice(self, digest: str, items: list[Mapping[str, Any]]) -> SecurityNotice | None:
        """Return the notice of an image, with its report if its items do not suffice."""
        notice = security_notice(items)
        if isinstance(notice, SecurityNotice) and not notice.may_be_summary:
            return notice
        if notice is None:
            return None
        report = json.loads(self._clairs.first(lambda one: one.vulnerability_report(digest)))
        self._scans.record_counts(digest, counts_of(report).as_json())
        confirmed = security_notice(items, report=report)
        return confirmed if isinstance(confirmed, SecurityNotice) else None


def _delivery(digest: str, notice: SecurityNotice) -> dict[str, object]:
    return {
        "digest": digest,
        "level": notice.worst.level,
        "event_data": json.dumps(notice.event_data()),
    }
