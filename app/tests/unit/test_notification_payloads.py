"""Payloads of notifications, by event and method."""

from __future__ import annotations

import pytest
from atoll.notifications.events import EVENTS
from atoll.notifications.payloads import Payloads

PAYLOADS = Payloads("registry.test", "https")
HOMEPAGE = "https://registry.test/repository/acme/app"


@pytest.mark.parametrize("event", [name for name in EVENTS if name != "repo_push"])
def test_a_webhook_gets_quays_document_for_events_of_mirrors(event: str) -> None:
    assert PAYLOADS.build(event, "webhook", "acme", "app", {"message": "why"}) == {
        "repository": "acme/app",
        "namespace": "acme",
        "name": "app",
        "docker_url": "registry.test/acme/app",
        "homepage": HOMEPAGE,
        "message": "why",
    }


@pytest.mark.parametrize(
    ("event", "text", "color"),
    [
        ("repo_mirror_sync_started", "is being mirrored: a &lt;b&gt; &amp; c", "#ffffff"),
        ("repo_mirror_sync_success", "has been mirrored: a &lt;b&gt; &amp; c", "good"),
        ("repo_mirror_sync_failed", "could not be mirrored: a &lt;b&gt; &amp; c", "danger"),
    ],
)
def test_slack_gets_a_color_and_an_escaped_text(event: str, text: str, color: str) -> None:
    payload = PAYLOADS.build(event, "slack", "acme", "app", {"message": "a <b> & c"})
    (attachment,) = payload["attachments"]
    assert attachment["text"] == f"<{HOMEPAGE}|acme/app> {text}"
    assert attachment["color"] == color


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("method", ["slack", "webhook"])
def test_test_notifications_have_a_payload(event: str, method: str) -> None:
    assert PAYLOADS.build(event, method, "acme", "app", EVENTS[event].sample)
