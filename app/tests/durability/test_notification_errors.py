"""A delivery that fails unexpectedly is retried with a backoff, then abandoned."""

from __future__ import annotations

from typing import NoReturn

import pytest
from atoll.notifications.deliverer import Deliverer
from atoll.notifications.payloads import Payloads
from atoll.notifications.subscriptions import CONFIG_PURPOSE

from .sites import MemoryRegistry, MemorySite


class BrokenPayloads(Payloads):
    """Payloads that cannot be built because of a bug."""

    def __init__(self) -> None:
        return

    def build(self, *_arguments: object) -> NoReturn:
        raise KeyError("unexpected")


def make_delivery(site: MemorySite) -> None:
    site.push(b"makes the repository")
    site.database.run(
        "WITH notification AS ("
        " INSERT INTO repositorynotification (repository_id, event, method, config, event_config)"
        " SELECT id, 'repo_push', 'webhook', %(config)s, '{}' FROM repository RETURNING id)"
        " INSERT INTO notificationdelivery (notification_id, event_data)"
        " SELECT id, '{}' FROM notification",
        {"config": site.graph.cipher.encrypt('{"url": "https://x.test"}', CONFIG_PURPOSE)},
    )


def test_an_unexpected_error_counts_as_failed_attempt_with_a_backoff(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    make_delivery(site)
    deliverer = Deliverer(
        site.database,
        site.graph.cipher,
        BrokenPayloads(),
        site.graph.receivers,
        site.graph.mailer,
    )
    assert deliverer.run_once()
    assert site.database.read(
        "SELECT attempts, last_error, lease_token IS NULL,"
        " available_at > clock_timestamp() + interval '5 seconds' FROM notificationdelivery"
    ) == [[1, "KeyError: 'unexpected'", True, True]]
    assert not deliverer.run_once()


def test_an_unexpected_error_is_not_retried_indefinitely(
    registry: MemoryRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    site = registry["us"]
    make_delivery(site)
    deliverer = Deliverer(
        site.database,
        site.graph.cipher,
        BrokenPayloads(),
        site.graph.receivers,
        site.graph.mailer,
        backoff_seconds=0,
    )
    attempts = 0
    while deliverer.run_once():
        attempts += 1
        assert attempts < 100
    assert attempts == 5
    assert site.database.read("SELECT number_of_failures FROM repositorynotification") == [[1]]
    assert "unhandled exception" in caplog.text
