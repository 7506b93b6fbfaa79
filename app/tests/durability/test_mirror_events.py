"""Events of mirrors are logged and notified exactly when their transaction commits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg2.extensions
import pytest
from atoll.mirroring.events import MirrorEvents
from atoll.names import RepositoryName
from atoll.notifications.events import EVENTS
from atoll.notifications.subscriptions import Notifications

from .mirrored import ROBOT, make_mirror, mirrors
from .notification_queue import RecordingReceivers, deliverer
from .sites import SUPERUSER, MemoryRegistry, MemorySite

REPOSITORY = RepositoryName(SUPERUSER, "mirrored")
SOURCE = "registry.example.com/team/app, tags 1.*, latest"
URL = "https://receiver.test/"


@pytest.fixture
def site(registry: MemoryRegistry) -> MemorySite:
    site = registry["us"]
    make_mirror(site, REPOSITORY, {"root_rule": ["1.*", "latest"]})
    for event in EVENTS:
        subscribe(site, event)
    site.database.run("DELETE FROM logentry")
    return site


def subscribe(site: MemorySite, event: str) -> None:
    Notifications(site.database, site.graph.cipher).create(
        REPOSITORY, event, "webhook", title=None, config={"url": URL + event}, event_config={}
    )


def record(
    site: MemorySite, action: Callable[[MirrorEvents, psycopg2.extensions.cursor], None]
) -> None:
    events = MirrorEvents.of(mirrors(site).find(REPOSITORY))
    with site.database.transaction() as cursor:
        action(events, cursor)


def logged(site: MemorySite) -> list[tuple[Any, ...]]:
    rows = site.database.read(
        "SELECT kind, namespace, repository, performer, metadata FROM logentry ORDER BY id"
    )
    return [tuple(row) for row in rows]


def enqueued(site: MemorySite) -> list[tuple[str, dict[str, str]]]:
    rows = site.database.read(
        "SELECT n.event, d.event_data FROM notificationdelivery d"
        " JOIN repositorynotification n ON n.id = d.notification_id ORDER BY d.id"
    )
    return [(row[0], row[1]) for row in rows]


def entry(kind: str, verb: str, message: str, **fields: str) -> tuple[Any, ...]:
    metadata = {"verb": verb, "namespace": SUPERUSER, "repo": "mirrored", "message": message}
    return (kind, SUPERUSER, "mirrored", ROBOT, metadata | fields)


@pytest.mark.parametrize(
    ("action", "kind", "verb", "message", "tags"),
    [
        (
            lambda events, cursor: events.started(cursor),
            "repo_mirror_sync_started",
            "start",
            SOURCE,
            "",
        ),
        (
            lambda events, cursor: events.succeeded(cursor, ["1.0", "latest"]),
            "repo_mirror_sync_success",
            "end",
            SOURCE,
            "1.0, latest",
        ),
        (
            lambda events, cursor: events.failed(cursor, "partial", ["1.0"]),
            "repo_mirror_sync_failed",
            "end",
            f"{SOURCE}: some tags could not be copied",
            "1.0",
        ),
        (
            lambda events, cursor: events.cancelled(cursor),
            "repo_mirror_sync_failed",
            "cancelled",
            f"{SOURCE}: cancelled",
            "",
        ),
    ],
)
def test_an_event_of_a_run_is_logged_and_notified(
    site: MemorySite,
    action: Callable[[MirrorEvents, psycopg2.extensions.cursor], None],
    kind: str,
    verb: str,
    message: str,
    tags: str,
) -> None:
    record(site, action)
    assert logged(site) == [entry(kind, verb, message, tags=tags)]
    assert enqueued(site) == [(kind, {"message": message})]
    receivers = RecordingReceivers()
    assert deliverer(site, receivers).run_once()
    assert receivers.got == [URL + kind]


def test_tags_are_logged_one_by_one_and_not_notified(site: MemorySite) -> None:
    record(site, lambda events, cursor: events.tags_succeeded(cursor, ["1.0", "1.1"]))
    record(site, lambda events, cursor: events.tag_succeeded(cursor, "latest"))
    record(site, lambda events, cursor: events.tag_failed(cursor, "1.2", "wrong_digest"))
    record(site, lambda events, cursor: events.tags_succeeded(cursor, []))
    reference = "registry.example.com/team/app"
    success = "repo_mirror_sync_tag_success"
    failure = "the upstream sent content with a wrong digest"
    assert logged(site) == [
        entry(success, "finish", f"{reference}:1.0: copied", tag="1.0"),
        entry(success, "finish", f"{reference}:1.1: copied", tag="1.1"),
        entry(success, "finish", f"{reference}:latest: copied", tag="latest"),
        entry("repo_mirror_sync_tag_failed", "finish", f"{reference}:1.2: {failure}", tag="1.2"),
    ]
    assert enqueued(site) == []


def test_an_unknown_code_is_not_disclosed(site: MemorySite) -> None:
    record(site, lambda events, cursor: events.failed(cursor, "connect to 10.1.2.3 failed"))
    assert "10.1.2.3" not in str(logged(site) + enqueued(site))


def test_nothing_is_recorded_if_the_transaction_fails(site: MemorySite) -> None:
    def fail(events: MirrorEvents, cursor: psycopg2.extensions.cursor) -> None:
        events.started(cursor)
        raise RuntimeError("the lease was lost")

    with pytest.raises(RuntimeError):
        record(site, fail)
    assert logged(site) == enqueued(site) == []


def test_a_failing_receiver_is_disabled_and_the_events_are_still_logged(site: MemorySite) -> None:
    site.database.run("UPDATE repositorynotification SET number_of_failures = 3")
    record(site, lambda events, cursor: events.failed(cursor, "partial"))
    assert len(logged(site)) == 1
    assert enqueued(site) == []


def test_a_subscription_that_is_deleted_meanwhile_does_not_fail_the_run(site: MemorySite) -> None:
    deleting, ended = threading.Event(), threading.Event()

    def delete() -> None:
        with site.database.transaction() as cursor:
            cursor.execute("DELETE FROM repositorynotification WHERE event LIKE '%failed'")
            deleting.set()
            cursor.execute("SELECT pg_sleep(0.3)")
        ended.set()

    thread = threading.Thread(target=delete)
    thread.start()
    deleting.wait()
    record(site, lambda events, cursor: events.failed(cursor, "partial"))
    thread.join()
    assert ended.is_set()
    assert len(logged(site)) == 1
    assert enqueued(site) == []


def test_a_log_entry_names_a_limited_number_of_tags(site: MemorySite) -> None:
    tags = [f"{number:05}" for number in range(50_000)]
    record(site, lambda events, cursor: events.succeeded(cursor, tags))
    named = logged(site)[0][4]["tags"]
    assert named.startswith("00000, 00001, ")
    assert named.endswith("00049 and 49950 more")


@pytest.mark.parametrize("event", EVENTS)
def test_a_test_notification_has_the_fields_of_its_event(site: MemorySite, event: str) -> None:
    notifications = Notifications(site.database, site.graph.cipher)
    (found,) = [one for one in notifications.list(REPOSITORY) if one.event == event]
    notifications.test(REPOSITORY, found.uuid)
    assert enqueued(site) == [(event, dict(EVENTS[event].sample))]
    receivers = RecordingReceivers()
    assert deliverer(site, receivers).run_once()
    assert receivers.got == [URL + event]
