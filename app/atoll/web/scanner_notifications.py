"""`/secscan`: Clair posts that vulnerabilities of images changed, and the backfill has a status."""

from __future__ import annotations

import logging

import falcon

from atoll.config import Bundle
from atoll.scanning.backfill import ScanBackfill
from atoll.scanning.clair.errors import InvalidScannerResponse
from atoll.scanning.clair.report import Announcement, parse
from atoll.scanning.clair.tokens import InvalidToken, NotificationTokens, decoded_key
from atoll.scanning.received_notifications import ReceivedNotifications
from atoll.web.client_address import client_address

log = logging.getLogger(__name__)

PATH = "/secscan/notification"
BACKFILL_PATH = "/secscan/_backfill_status"
# Bytes of an announcement, which has an identifier and a URL.
_BODY_MAXIMUM = 64 * 1024


class BackfillProgress:
    """`/secscan/_backfill_status`, as in Quay: the share of images whose scan was requested."""

    def __init__(self, backfill: ScanBackfill) -> None:
        self._backfill = backfill

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Return the share in percent."""
        del req
        status = self._backfill.status()
        share = status.share if status is not None else 0.0
        resp.media = {"backfill_percent": f"{100 * share:.2f}"}


class ScannerNotifications:
    """`/secscan/notification`."""

    def __init__(self, received: ReceivedNotifications, bundle: Bundle) -> None:
        """Make the resource.

        Args:
            received: Where notifications are stored.
            bundle: The keys that are shared with Clair.
        """
        keys = [
            decoded_key(key.get_secret_value())
            for key in (bundle.security_scanner_v4_psk, bundle.scanner_previous_psk)
            if key is not None
        ]
        self._received = received
        self._tokens = NotificationTokens(keys) if keys else None
        self._unauthenticated = bundle.scanner_unauthenticated_notifications

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Store a notification. Its changes are read from a Clair in the background.

        Clair repeats a delivery until the status is 200, also of identifiers that it does not know
        any more, so that unknown and repeated ones are accepted.
        """
        self._authenticate(req)
        body = req.bounded_stream.read(_BODY_MAXIMUM + 1)
        if len(body) > _BODY_MAXIMUM:
            raise falcon.HTTPContentTooLarge(title="the notification is too large")
        try:
            announcement = parse(Announcement, body)
        except InvalidScannerResponse as error:
            raise falcon.HTTPBadRequest(
                title="invalid notification", description=str(error)
            ) from error
        new = self._received.receive(announcement.notification_id)
        fields = {"notification": str(announcement.notification_id), "new": new}
        log.info("notification received", extra=fields)
        resp.media = {"status": "accepted"}

    def _authenticate(self, req: falcon.Request) -> None:
        """Raise HTTPUnauthorized unless Clair sent the request."""
        if self._tokens is None and self._unauthenticated:
            return
        try:
            if self._tokens is None:
                raise InvalidToken("SECURITY_SCANNER_V4_PSK is not set")
            self._tokens.verify(req.get_header("Authorization"))
        except InvalidToken as error:
            fields = {"client": client_address(req), "cause": str(error)}
            log.warning("notification refused", extra=fields)
            raise falcon.HTTPUnauthorized(
                title="the notification is not authenticated", challenges=["Bearer"]
            ) from error
