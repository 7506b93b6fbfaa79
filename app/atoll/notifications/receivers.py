"""Receivers of webhooks and of log export callbacks, which get JSON documents by POST."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.outbound.client import OutboundClient


class NotReceived(Exception):
    """The receiver responded with an error status."""


@dataclass(frozen=True)
class Receivers:
    """Sends documents to receivers."""

    client: OutboundClient

    def check(self, url: str) -> None:
        """Check the URL of a receiver without resolving its host.

        Raises:
            InvalidDestination: The URL is malformed, or its host is forbidden.
        """
        self.client.check(url)

    def post(self, url: str, document: Mapping[str, Any]) -> None:
        """Send a JSON document; redirects are not followed.

        Raises:
            OutboundError: The receiver is forbidden or cannot be reached.
            NotReceived: The receiver responded with a status other than 2xx.
        """
        status = self.client.post(url, json.dumps(document).encode(), "application/json")
        if not http.client.OK <= status < http.client.MULTIPLE_CHOICES:
            raise NotReceived(f"the receiver responded with status {status}")
