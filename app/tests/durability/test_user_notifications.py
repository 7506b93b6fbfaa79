"""Users, organizations and teams read notifications of repositories in the API."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from atoll.auth import users
from atoll.names import RepositoryName
from atoll.notifications.notices import NOTICES_MAXIMUM, Notices, Target
from atoll.notifications.subscriptions import ENQUEUE_NOTIFICATIONS

from .api_client import PASSWORD, ApiClient
from .notification_queue import RecordingReceivers, deliverer
from .sites import MemoryRegistry, MemorySite

REPOSITORY = RepositoryName("acme", "app")
BASE = "repository/acme/app/notification/"
NOTICES = "user/notifications"
MESSAGE = "registry.example.com/team/app, tags *: some tags could not be copied"


class Registry:
    """A registry with an organization, its repository and three users."""

    def __init__(self, site: MemorySite) -> None:
        self.site = site
        self.api = {}
        for name in ("owner", "member", "helper", "stranger"):
            users.create_user(site.database, name, f"{name}@example.com", PASSWORD)
            self.api[name] = ApiClient(site, name)
        self.owner = self.api["owner"]
        self.owner.call(
            "POST", "organization/", {"name": "acme", "email": "acme@example.com"}, status=201
        )
        self.owner.call("PUT", "organization/acme/team/readers", {"role": "member"})
        self.owner.call("PUT", "organization/acme/team/readers/members/member")
        site.graph.repositories.create(REPOSITORY, "private")
        # An administrator of the repository, but not a member of a team.
        self.owner.call("PUT", "repository/acme/app/permissions/user/helper", {"role": "admin"})

    def subscribe(self, kind: str, name: str, *, status: int = 201, creator: str = "owner") -> Any:
        body = {
            "event": "repo_mirror_sync_failed",
            "method": "quay_notification",
            "config": {"target": {"kind": kind, "name": name}},
            "eventConfig": {},
        }
        return self.api[creator].call("POST", BASE, body, status=status)

    def deliver(self) -> None:
        """Enqueue an event and deliver it to all subscriptions."""
        rows = self.site.database.read("SELECT id FROM repository WHERE name = 'app'")
        self.site.database.run(
            ENQUEUE_NOTIFICATIONS,
            {
                "repository_id": rows[0][0],
                "event": "repo_mirror_sync_failed",
                "event_data": json.dumps({"message": MESSAGE}),
            },
        )
        worker = deliverer(self.site, RecordingReceivers())
        while worker.run_once():
            pass

    def readers(self) -> set[str]:
        """Return the users who see a notice."""
        return {name for name, api in self.api.items() if api.call("GET", NOTICES)["notifications"]}


@pytest.fixture
def acme(registry: MemoryRegistry) -> Registry:
    return Registry(registry["us"])


@pytest.mark.parametrize(
    ("kind", "name", "readers", "organization"),
    [
        ("user", "member", {"member"}, None),
        ("team", "readers", {"member"}, None),
        ("org", "acme", {"owner"}, "acme"),
    ],
)
def test_a_target_reads_the_event_and_dismisses_it(
    acme: Registry, kind: str, name: str, readers: set[str], organization: str | None
) -> None:
    created = acme.subscribe(kind, name)
    assert created["config"] == {"target": {"kind": kind, "name": name}}
    acme.deliver()
    assert acme.readers() == readers
    (reader,) = readers
    found = acme.api[reader].call("GET", NOTICES)
    (notice,) = found["notifications"]
    assert found["additional"] is False
    assert notice["kind"] == "repo_mirror_sync_failed"
    assert notice["organization"] == organization
    assert notice["dismissed"] is False
    assert notice["metadata"] == {
        "repository": "acme/app",
        "namespace": "acme",
        "name": "app",
        "docker_url": "registry.test/acme/app",
        "homepage": "http://registry.test/repository/acme/app",
        "message": MESSAGE,
    }
    path = f"{NOTICES}/{notice['id']}"
    for other in set(acme.api) - readers:
        acme.api[other].call("GET", path, status=404)
        acme.api[other].call("PUT", path, {"dismissed": True}, status=404)
    assert acme.api[reader].call("PUT", path, {"dismissed": True})["dismissed"] is True
    assert acme.readers() == set()
    assert acme.api[reader].call("GET", path)["dismissed"] is True
    assert acme.api[reader].call("PUT", path, {})["dismissed"] is False
    assert acme.readers() == readers


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("user", "nobody"),
        ("user", "stranger"),
        ("user", "helper"),
        ("user", "acme"),
        ("org", "other"),
        ("org", "owner"),
        ("team", "writers"),
        ("robot", "x"),
    ],
)
def test_an_unknown_target_is_refused(acme: Registry, kind: str, name: str) -> None:
    acme.api["stranger"].call(
        "POST", "organization/", {"name": "other", "email": "other@example.com"}, status=201
    )
    assert name in (message := acme.subscribe(kind, name, status=400)["error_message"]) or (
        "config.target.kind" in message
    )


def test_a_user_outside_of_the_namespace_is_notified_at_their_own_request_only(
    acme: Registry,
) -> None:
    acme.subscribe("user", "helper", creator="helper")
    acme.deliver()
    assert acme.readers() == {"helper"}
    acme.subscribe("user", "stranger", creator="helper", status=400)


def test_a_user_who_left_the_namespace_gets_no_more_notices(acme: Registry) -> None:
    acme.subscribe("user", "member")
    acme.owner.call("DELETE", "organization/acme/team/readers/members/member", status=204)
    acme.deliver()
    assert acme.readers() == set()


def test_a_target_that_was_deleted_does_not_fail_deliveries(acme: Registry) -> None:
    acme.subscribe("team", "readers")
    acme.owner.call("DELETE", "organization/acme/team/readers", status=204)
    acme.deliver()
    assert acme.readers() == set()
    assert acme.owner.call("GET", BASE)["notifications"][0]["number_of_failures"] == 0
    assert acme.site.database.read("SELECT count(*) FROM notificationdelivery") == [[0]]


def test_a_repeated_delivery_writes_one_notice(acme: Registry) -> None:
    notices = Notices(acme.site.database)
    source = UUID(acme.subscribe("user", "member")["uuid"])
    for delivery in (1, 1, 2):
        notices.add(
            delivery, source, "acme", Target("user", "member"), event="repo_push", payload={}
        )
    assert len(acme.api["member"].call("GET", NOTICES)["notifications"]) == 2


def test_notices_are_paged_newest_first_and_limited_for_each_subscription(acme: Registry) -> None:
    notices = Notices(acme.site.database)
    quiet, noisy = (UUID(acme.subscribe("user", "member")["uuid"]) for _ in range(2))
    target = Target("user", "member")
    notices.add(0, quiet, "acme", target, event="repo_push", payload={"number": 0})
    for number in range(1, NOTICES_MAXIMUM + 4):
        notices.add(number, noisy, "acme", target, event="repo_push", payload={"number": number})
    member = acme.api["member"]
    first = member.call("GET", NOTICES)
    newest = NOTICES_MAXIMUM + 3
    assert [one["metadata"]["number"] for one in first["notifications"]] == list(
        range(newest, newest - 5, -1)
    )
    assert first["additional"] is True
    last = member.call("GET", NOTICES, query={"page": "1", "limit": str(NOTICES_MAXIMUM - 1)})
    assert [one["metadata"]["number"] for one in last["notifications"]] == [4, 0]
    assert last["additional"] is False


def test_notices_need_a_login(acme: Registry) -> None:
    ApiClient(acme.site, None).call("GET", NOTICES, status=401)
