"""Subscribers are notified of pushes with a real request, once, despite failures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from atoll.notifications.deliverer import Deliverer
from atoll.notifications.payloads import Payloads
from atoll.notifications.receivers import NotReceived, Receivers
from atoll.outbound.client import OutboundClient
from atoll.outbound.errors import RequestFailed

from .clients import Api
from .images import push_image_with_layer
from .receiver import Receiver
from .services import Services, wait_until
from .site import Client, Site, running_site

BASE = "repository/admin/app/notification/"


@pytest.fixture
def site_with_receiver(services: Services, database: str, tmp_path: Path) -> Iterator[Site]:
    """A site that may send requests to a receiver on this machine."""
    changes = {"SSRF_ALLOWED_HOSTS": ["127.0.0.1"], "FEATURE_SERVER_TIMING": True}
    with running_site(services, database, tmp_path / "telling", "usstorage", changes) as site:
        yield site


def deliverer(site: Site) -> Deliverer:
    """Return a deliverer that retries without waiting."""
    site_services = site.services
    payloads = Payloads.from_bundle(site_services.bundle)
    return Deliverer(
        site_services.database,
        site_services.cipher,
        payloads,
        site_services.receivers,
        site_services.mailer,
        backoff_seconds=0,
    )


def subscribe(api: Api, receiver: Receiver, method: str = "webhook") -> dict[str, Any]:
    api.call(
        "POST",
        "repository",
        {"repository": "app", "namespace": "admin", "visibility": "private"},
        201,
    )
    wanted = {
        "event": "repo_push",
        "method": method,
        "config": {"url": receiver.url},
        "eventConfig": {},
        "title": "tell me",
    }
    return api.call("POST", BASE, wanted, 201)


def test_a_webhook_receives_quays_document_for_a_push(
    site_with_receiver: Site, receiver: Receiver
) -> None:
    api = Api(site_with_receiver)
    made = subscribe(api, receiver)
    assert (made["title"], made["number_of_failures"]) == ("tell me", 0)
    push_image_with_layer(Client(site_with_receiver), "admin/app", "v1", b"x")
    site_with_receiver.start_worker()
    wait_until("the receiver is notified", lambda: bool(receiver.got))
    assert receiver.got == [
        {
            "path": "/hook?token=secret",
            "document": {
                "repository": "admin/app",
                "namespace": "admin",
                "name": "app",
                "docker_url": "registry.test/admin/app",
                "homepage": "http://registry.test/repository/admin/app",
                "updated_tags": ["v1"],
            },
        }
    ]
    wait_until("all deliveries are done", lambda: not count_deliveries(site_with_receiver))
    site_with_receiver.stop_worker()
    assert "secret" not in (site_with_receiver.directory / "worker.log").read_text()


def test_a_site_without_replication_delivers_too(
    services: Services, database: str, tmp_path: Path, receiver: Receiver
) -> None:
    changes = {"SSRF_ALLOWED_HOSTS": ["127.0.0.0/8"], "FEATURE_STORAGE_REPLICATION": False}
    with running_site(services, database, tmp_path / "alone", "usstorage", changes) as site:
        subscribe(Api(site), receiver)
        push_image_with_layer(Client(site), "admin/app", "v1", b"x")
        with (tmp_path / "housekeeping.log").open("wb") as log:
            house = subprocess.Popen(
                [sys.executable, "-m", "atoll.cli.main", "housekeeping"],
                env=site.environment(),
                stderr=log,
            )
        try:
            wait_until("the receiver is notified", lambda: bool(receiver.got))
        finally:
            house.terminate()
            status = house.wait()
        assert (status, count_deliveries(site)) == (0, [])


def count_deliveries(site: Site) -> list[Any]:
    return site.services.database.read("SELECT attempts FROM notificationdelivery")


def test_slack_gets_its_own_format(site_with_receiver: Site, receiver: Receiver) -> None:
    subscribe(Api(site_with_receiver), receiver, "slack")
    push_image_with_layer(Client(site_with_receiver), "admin/app", "v1", b"x")
    assert deliverer(site_with_receiver).run_once()
    (attachment,) = receiver.got[0]["document"]["attachments"]
    assert "admin/app" in attachment["text"]
    assert "v1" in attachment["text"]


def test_a_failing_receiver_is_retried_and_then_disabled_until_a_reset(
    site_with_receiver: Site, receiver: Receiver
) -> None:
    api, client = Api(site_with_receiver), Client(site_with_receiver)
    uuid = subscribe(api, receiver)["uuid"]
    deliveries = deliverer(site_with_receiver)
    receiver.status = 500
    push_image_with_layer(client, "admin/app", "v0", b"x")
    assert deliveries.run_once()
    receiver.status = 302
    assert deliveries.run_once()
    receiver.status = 204
    assert deliveries.run_once()
    assert not deliveries.run_once()
    assert len(receiver.got) == 3
    receiver.status = 503
    for number in range(1, 4):
        push_image_with_layer(client, "admin/app", f"v{number}", b"x")
        assert [deliveries.run_once() for _ in range(6)] == [True] * 5 + [False]
        assert api.call("GET", f"{BASE}{uuid}")["number_of_failures"] == number
    push_image_with_layer(client, "admin/app", "v4", b"x")
    assert not deliveries.run_once()
    api.call("POST", f"{BASE}{uuid}", status=204)
    receiver.status = 200
    push_image_with_layer(client, "admin/app", "v5", b"x")
    assert deliveries.run_once()
    assert receiver.got[-1]["document"]["updated_tags"] == ["v5"]


def test_a_test_notification_is_sent_at_once_and_a_deleted_subscription_sends_nothing(
    site_with_receiver: Site, receiver: Receiver
) -> None:
    api = Api(site_with_receiver)
    uuid = subscribe(api, receiver)["uuid"]
    assert api.call("POST", f"{BASE}{uuid}/test") == {}
    assert deliverer(site_with_receiver).run_once()
    assert len(receiver.got) == 1
    assert [one["uuid"] for one in api.call("GET", BASE)["notifications"]] == [uuid]
    push_image_with_layer(Client(site_with_receiver), "admin/app", "v1", b"x")
    api.call("DELETE", f"{BASE}{uuid}", status=204)
    assert not deliverer(site_with_receiver).run_once()
    for method, path in (("GET", uuid), ("DELETE", uuid), ("POST", f"{uuid}/test")):
        api.call(method, f"{BASE}{path}", status=404)


def test_a_leased_delivery_is_not_claimed_until_its_lease_expires(
    site_with_receiver: Site, receiver: Receiver
) -> None:
    subscribe(Api(site_with_receiver), receiver)
    push_image_with_layer(Client(site_with_receiver), "admin/app", "v1", b"x")
    database = site_with_receiver.services.database
    database.run(
        "UPDATE notificationdelivery SET lease_token = gen_random_uuid(),"
        " lease_expires = clock_timestamp() + interval '1 hour'"
    )
    assert not deliverer(site_with_receiver).run_once()
    database.run("UPDATE notificationdelivery SET lease_expires = clock_timestamp()")
    assert deliverer(site_with_receiver).run_once()


def test_the_url_of_a_subscription_is_not_disclosed(
    site_with_receiver: Site, receiver: Receiver
) -> None:
    api = Api(site_with_receiver)
    subscribe(api, receiver)
    (config,) = site_with_receiver.services.database.read(
        "SELECT config FROM repositorynotification"
    )[0]
    assert "secret" not in config
    stranger = Api(site_with_receiver, None)
    stranger.call("GET", BASE, status=401)
    assert "secret" not in json.dumps(api.call("GET", "user/logs"))


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"url": "http://169.254.169.254/latest/meta-data"}},
        {"config": {"url": "http://[::1]/"}},
        {"config": {"url": "http://10.1.2.3/"}},
        {"config": {}},
        {"config": {"url": "http://example.com/", "template": "{}"}},
        {"method": "email"},
        {"event": "vulnerability_found"},
    ],
)
def test_an_undeliverable_subscription_is_refused_with_the_reason(
    site_with_receiver: Site, receiver: Receiver, change: dict[str, object]
) -> None:
    api = Api(site_with_receiver)
    subscribe(api, receiver)
    wanted = {"event": "repo_push", "method": "webhook", "config": {"url": receiver.url}}
    assert api.call("POST", BASE, wanted | change, 400)["error_message"]


def test_certificates_of_receivers_are_verified(
    site_with_receiver: Site, services: Services
) -> None:
    """Only this site trusts the certificate of the store."""
    url = f"https://127.0.0.1:{services.us.port}/"
    bundle = site_with_receiver.services.bundle
    with pytest.raises(RequestFailed, match="certificate"):
        Receivers(OutboundClient.from_bundle(bundle, None)).post(url, {})
    trusting = OutboundClient.from_bundle(bundle, str(services.us.certificate))
    with pytest.raises(NotReceived, match="responded with status"):
        Receivers(trusting).post(url, {})
