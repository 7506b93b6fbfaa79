"""Payloads of notifications, in Quay's format for each event and method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.config import Bundle
from atoll.notifications.events import ERROR, EVENTS, INFO, PRIMARY, SUCCESS
from atoll.notifications.subscriptions import SLACK

_SLACK_COLORS = {INFO: "#ffffff", SUCCESS: "good", ERROR: "danger", PRIMARY: "good"}


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
        self, event: str, method: str, namespace: str, name: str, event_data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the payload for an event in a repository.

        Args:
            event: The name of the event.
            method: The method; SLACK has a format of its own.
            namespace: The repository's namespace.
            name: The repository's name in the namespace.
            event_data: The fields of the event.
        """
        repository = f"{namespace}/{name}"
        homepage = self._homepage(repository)
        if method == SLACK:
            happened = EVENTS[event].text(event_data)
            attachment = {
                "fallback": f"Repository {repository} {happened}",
                "text": f"<{homepage}|{repository}> {_escape(happened)}",
                "color": _SLACK_COLORS[EVENTS[event].level],
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

    def mail(
        self, event: str, namespace: str, name: str, event_data: Mapping[str, Any]
    ) -> tuple[str, str]:
        """Return the subject and the text of an e-mail for an event in a repository.

        Args:
            event: The name of the event.
            namespace: The repository's namespace.
            name: The repository's name in the namespace.
            event_data: The fields of the event.
        """
        repository = f"{namespace}/{name}"
        summary = EVENTS[event].summary(repository, event_data)
        text = (
            f"The repository {summary}\n\n{self._homepage(repository)}\n\n"
            f"This address was confirmed for notifications of {repository}. Its administrators"
            " can stop them.\n"
        )
        return f"[{self.hostname}] {summary}", text

    def _homepage(self, repository: str) -> str:
        return f"{self.scheme}://{self.hostname}/repository/{repository}"


def _escape(text: str) -> str:
    """Escape the characters that Slack interprets as the beginning of a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
