"""Notifications and deliveries in the database, as the API and pushes create them."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from atoll.names import RepositoryName
from atoll.notifications.deliverer import Deliverer
from atoll.notifications.payloads import Payloads
from atoll.notifications.receivers import NotReceived, Receivers
from atoll.notifications.subscriptions import Notification, Notifications

from .sites import SUPERUSER, MemorySite


class RecordingReceivers(Receivers):
    """Receivers in memory. Those with `hung` in their URL block until `release` is set."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.hung = 0
        self.release = threading.Event()

    def post(self, url: str, document: Mapping[str, Any]) -> None:
        del document
        if "hung" in url:
            self.hung += 1
            self.release.wait()
            raise NotReceived("too late")
        if "odd" in url:
            url.encode("ascii")
        self.got.append(url)


def make_repository(site: MemorySite, name: RepositoryName) -> None:
    """Create a repository, and its namespace if it does not exist."""
    site.graph.uploads.start(name, SUPERUSER)


def subscribe(site: MemorySite, name: RepositoryName, url: str) -> Notification:
    """Create a notification of pushes to the repository `name`."""
    return Notifications(site.database, site.graph.cipher).create(
        name, "repo_push", "webhook", title=None, config={"url": url}, event_config={}
    )


def deliver_to_all(site: MemorySite, count: int = 1) -> None:
    """Create `count` deliveries for each notification, as `count` pushes do."""
    site.graph.batch_database.run(
        "INSERT INTO notificationdelivery (notification_id, namespace_id, event_data)"
        " SELECT n.id, r.namespace_user_id, %(data)s FROM repositorynotification n"
        " JOIN repository r ON r.id = n.repository_id, generate_series(1, %(count)s)"
        " ORDER BY n.id",
        {"data": json.dumps({"updated_tags": ["v1"]}), "count": count},
    )


def deliverer(site: MemorySite, receivers: Receivers, backoff_seconds: float = 0) -> Deliverer:
    """Return a deliverer that sends to `receivers`, not started."""
    return Deliverer(
        site.database,
        site.graph.cipher,
        Payloads.from_bundle(site.graph.bundle),
        receivers,
        site.graph.mailer,
        backoff_seconds=backoff_seconds,
    )
