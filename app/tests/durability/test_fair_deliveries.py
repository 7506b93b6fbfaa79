"""Hanging or failing receivers of one namespace do not delay deliveries of another."""

from __future__ import annotations

import pytest
from atoll.audit.export_requests import TooManyExports
from atoll.audit.export_worker import LogExporter
from atoll.audit.log import Selection
from atoll.names import RepositoryName
from atoll.notifications import deliverer as module
from atoll.notifications.subscriptions import (
    NOTIFICATIONS_MAXIMUM,
    Notifications,
    NotificationUnknown,
    TooManyNotifications,
    TooManyTests,
)
from atoll.periodic import ThreadRegistry

from ..integration.services import wait_until
from .notification_queue import (
    RecordingReceivers,
    deliver_to_all,
    deliverer,
    make_repository,
    subscribe,
)
from .sites import MemoryRegistry, MemorySite

HOSTILE, OTHER = RepositoryName("hostile", "app"), RepositoryName("other", "app")


def make_hung_webhooks(site: MemorySite, count: int) -> None:
    for number in range(count // NOTIFICATIONS_MAXIMUM):
        name = RepositoryName("hostile", f"app-{number}")
        make_repository(site, name)
        for _ in range(NOTIFICATIONS_MAXIMUM):
            subscribe(site, name, "http://hung.example/")


def test_two_hundred_hung_webhooks_do_not_delay_another_namespace(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    make_hung_webhooks(site, 200)
    deliver_to_all(site)
    make_repository(site, OTHER)
    subscribe(site, OTHER, "http://fine.example/")
    receivers = RecordingReceivers()
    one = deliverer(site, receivers)
    one.start(ThreadRegistry())
    try:
        wait_until("receivers hang", lambda: receivers.hung >= 4)
        for number in range(1, 11):
            site.database.run(
                "INSERT INTO notificationdelivery (notification_id, namespace_id, event_data)"
                " SELECT n.id, r.namespace_user_id, '{}' FROM repositorynotification n"
                ' JOIN repository r ON r.id = n.repository_id JOIN "user" u'
                " ON u.id = r.namespace_user_id WHERE u.username = 'other'"
            )
            # None of the hung receivers has answered.
            wait_until("the other receiver got it", lambda: len(receivers.got) >= number)  # noqa: B023
        assert receivers.hung == 4
    finally:
        receivers.release.set()
        one.stop()


def test_a_delivery_of_an_earlier_version_is_delivered(registry: MemoryRegistry) -> None:
    """It has no namespace."""
    site = registry["us"]
    make_repository(site, OTHER)
    subscribe(site, OTHER, "http://fine.example/")
    site.database.run(
        "INSERT INTO notificationdelivery (notification_id, event_data)"
        " SELECT id, '{}' FROM repositorynotification"
    )
    receivers = RecordingReceivers()
    one = deliverer(site, receivers)
    assert one.run_once()
    assert not one.run_once()
    assert receivers.got == ["http://fine.example/"]


def test_a_claim_reads_few_rows_regardless_of_the_queue_length(registry: MemoryRegistry) -> None:
    site = registry["us"]
    make_repository(site, HOSTILE)
    make_repository(site, OTHER)
    subscribe(site, HOSTILE, "http://failing.example/")
    deliver_to_all(site, 20_000)
    # Half of them are retried later; the others are due, but their namespace is at its limit.
    site.graph.batch_database.run(
        "UPDATE notificationdelivery SET available_at = now() + interval '1 hour' WHERE id % 2 = 0"
    )
    subscribe(site, OTHER, "http://fine.example/")
    deliver_to_all(site)
    site.graph.batch_database.run("ANALYZE notificationdelivery")
    ((hostile,),) = site.database.read("SELECT id FROM \"user\" WHERE username = 'hostile'")
    parameters = {"after": -1, "busy": [hostile], "seconds": 60}
    with site.database.transaction() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {module._CLAIM}", parameters)
        plan = cursor.fetchall()[0][0][0]["Plan"]
    assert plan["Actual Rows"] == 1
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 200


def test_a_notification_with_too_many_failures_loses_its_other_deliveries(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    make_repository(site, HOSTILE)
    subscribe(site, HOSTILE, "http://odd.example/ü")
    deliver_to_all(site, 500)
    one = deliverer(site, RecordingReceivers())
    attempts = 0
    while one.run_once():
        attempts += 1
        assert attempts < 100
    assert attempts == 15
    assert site.database.read("SELECT number_of_failures FROM repositorynotification") == [[3]]
    assert site.database.read("SELECT 1 FROM notificationdelivery") == []


def test_a_delivery_that_repeatedly_crashed_its_process_is_abandoned(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    make_repository(site, OTHER)
    subscribe(site, OTHER, "http://fine.example/")
    deliver_to_all(site)
    site.database.run("UPDATE notificationdelivery SET attempts = 5")
    receivers = RecordingReceivers()
    one = deliverer(site, receivers)
    assert one.run_once()
    assert not one.run_once()
    assert receivers.got == []
    assert site.database.read("SELECT number_of_failures FROM repositorynotification") == [[1]]


def test_the_number_of_notifications_of_a_repository_is_limited(registry: MemoryRegistry) -> None:
    site = registry["us"]
    for name in (HOSTILE, OTHER):
        make_repository(site, name)
    first = subscribe(site, HOSTILE, "http://x.example/")
    for _ in range(NOTIFICATIONS_MAXIMUM - 1):
        subscribe(site, HOSTILE, "http://x.example/")
    with pytest.raises(TooManyNotifications, match="delete one first"):
        subscribe(site, HOSTILE, "http://x.example/")
    subscribe(site, OTHER, "http://x.example/")
    Notifications(site.database, site.graph.cipher).delete(HOSTILE, first.uuid)
    subscribe(site, HOSTILE, "http://x.example/")
    with pytest.raises(NotificationUnknown):
        subscribe(site, RepositoryName("other", "unknown"), "http://x.example/")


def test_a_notification_can_be_tested_once_in_ten_seconds(registry: MemoryRegistry) -> None:
    site = registry["us"]
    make_repository(site, HOSTILE)
    uuid = subscribe(site, HOSTILE, "http://x.example/").uuid
    notifications = Notifications(site.database, site.graph.cipher)
    notifications.test(HOSTILE, uuid)
    with pytest.raises(TooManyTests):
        notifications.test(HOSTILE, uuid)
    assert site.database.read("SELECT count(*) FROM notificationdelivery") == [[1]]
    site.database.run(
        "UPDATE repositorynotification SET tested_at = tested_at - interval '10 seconds'"
    )
    notifications.test(HOSTILE, uuid)
    assert site.database.read("SELECT count(*) FROM notificationdelivery") == [[2]]
    with pytest.raises(NotificationUnknown):
        notifications.test(RepositoryName("other", "app"), uuid)


# Log exports --------------------------------------------------------------------------------


def ask(site: MemorySite, namespace: str, url: str = "http://fine.example/") -> None:
    ((start, end),) = site.database.read("SELECT now() - interval '1 day', now()")
    site.graph.log_exports.request(Selection(start, end, namespace), url)


def exporter(site: MemorySite, receivers: RecordingReceivers) -> LogExporter:
    graph = site.graph
    return LogExporter(
        graph.database, graph.cipher, receivers, graph.export_links, backoff_seconds=0
    )


def test_exports_to_hung_receivers_do_not_delay_another_namespace(registry: MemoryRegistry) -> None:
    site = registry["us"]
    for _ in range(10):
        ask(site, "hostile", "http://hung.example/")
    receivers = RecordingReceivers()
    one = exporter(site, receivers)
    one.start(ThreadRegistry())
    try:
        wait_until("a receiver hangs", lambda: receivers.hung == 1)
        ask(site, "other")
        wait_until("the other receiver got it", lambda: len(receivers.got) == 1)
        assert receivers.hung == 1
    finally:
        receivers.release.set()
        one.stop()


def test_the_number_of_unfinished_exports_of_a_namespace_is_limited(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    for _ in range(10):
        ask(site, "hostile")
    with pytest.raises(TooManyExports, match="the maximum"):
        ask(site, "hostile")
    ask(site, "other")
    while exporter(site, RecordingReceivers()).run_once():
        pass
    ask(site, "hostile")


def test_an_unexpected_error_of_an_export_is_not_retried_indefinitely(
    registry: MemoryRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    site = registry["us"]
    ask(site, "hostile", "http://odd.example/ü")
    one = exporter(site, RecordingReceivers())
    attempts = 0
    while one.run_once():
        attempts += 1
        assert attempts < 100
    assert attempts == 8
    assert "unhandled exception" in caplog.text
    assert site.database.read("SELECT ended_at IS NOT NULL FROM logexport") == [[True]]


def test_an_export_that_repeatedly_crashed_its_process_is_abandoned(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    ask(site, "hostile")
    site.database.run("UPDATE logexport SET attempts = 8")
    receivers = RecordingReceivers()
    one = exporter(site, receivers)
    assert one.run_once()
    assert not one.run_once()
    assert receivers.got == []
