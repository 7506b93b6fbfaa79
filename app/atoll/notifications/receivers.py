"""Receivers of webhooks and of messages about log exports: JSON documents sent by POST."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.outbound.client import OutboundClient


class NotReceived(Exception):
    """The receiver did not answer with a status of success."""


@dataclass(frozen=True)
class Receivers:
    """Sends documents to receivers."""

    client: OutboundClient

    def check(self, url: str) -> None:
        """Check the URL of a receiver without a look at the network. Raises InvalidDestination."""
        self.client.check(url)

    def post(self, url: str, document: Mapping[str, Any]) -> None:
        """Send DOCUMENT.

        Raises:
            OutboundError: the receiver may not be contacted, or could not be.
            NotReceived: it answered with another status than 2xx; redirects are not followed.
        """
        status = self.client.post(url, json.dumps(document).encode(), "application/json")
        if not http.client.OK <= status < http.client.MULTIPLE_CHOICES:
            raise NotReceived(f"the receiver answered with status {status}")
