"""Payloads of notifications, in Quay's format for each event and method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.config import Bundle
from atoll.notifications.subscriptions import SLACK

_SLACK_COLOR = "good"


@dataclass(frozen=True)
class Payloads:
    """Builds payloads with links to the registry."""

    hostname: str
    scheme: str

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Payloads:
        """Return a builder for SERVER_HOSTNAME and PREFERRED_URL_SCHEME."""
        return cls(bundle.server_hostname, bundle.preferred_url_scheme)

    def build(
        self, method: str, namespace: str, name: str, event_data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the payload for an event in a repository.

        Args:
            method: WEBHOOK or SLACK.
            namespace: The repository's namespace.
            name: The repository's name in the namespace.
            event_data: The fields of the event.
        """
        repository = f"{namespace}/{name}"
        homepage = f"{self.scheme}://{self.hostname}/repository/{repository}"
        if method == SLACK:
            tags = ", ".join(event_data["updated_tags"])
            text = f"<{homepage}|{repository}> has been updated: {tags}"
            attachment = {
                "fallback": f"Repository {repository} has been updated: {tags}",
                "text": text,
                "color": _SLACK_COLOR,
                "mrkdwn_in": ["text"],
            }
            return {"attachments": [attachment]}
        return {
            "repository": repository,
            "namespace": namespace,
            "name": name,
            "docker_url": f"{self.hostname}/{repository}",
            "homepage": homepage,
            **event_data,
        }
