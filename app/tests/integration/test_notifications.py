"""Who asked to be told of pushes is told: by a real request, once, whatever fails in between."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from atoll.notifications.deliverer import Deliverer
from atoll.notifications.payloads import Payloads
from atoll.notifications.receivers import NotReceived, Receivers
from atoll.outbound.client import OutboundClient
from atoll.outbound.errors import RequestFailed

from .services import Services, wait_until
from .site import Site, running_site
from .test_api import Api, Client, push_image

BASE = "repository/admin/app/notification/"


class Receiver:
    """An HTTP server that keeps what it is sent and answers with `status`."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append({"path": self.path, "document": json.loads(body)})
                self.send_response(receiver.status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?token=secret"

    @contextmanager
    def running(self) -> Iterator[Receiver]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as running:
        yield running


@pytest.fixture
def telling(services: Services, database: str, tmp_path: Path) -> Iterator[Site]:
    """Give a site that may speak to a receiver on this machine."""
    changes = {"SSRF_ALLOWED_HOSTS": ["127.0.0.1"], "FEATURE_SERVER_TIMING": True}
    with running_site(services, database, tmp_path / "telling", "usstorage", changes) as site:
        yield site


def deliverer(site: Site) -> Deliverer:
    """Return one that does not wait between two attempts."""
    graph = site.graph
    payloads = Payloads.from_bundle(graph.bundle)
    return Deliverer(graph.database, graph.cipher, payloads, graph.receivers, backoff_seconds=0)


def ask(api: Api, receiver: Receiver, method: str = "webhook") -> dict[str, Any]:
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


def test_a_webhook_is_told_of_a_push_with_quays_document(telling: Site, receiver: Receiver) -> None:
    api = Api(telling)
    made = ask(api, receiver)
    assert (made["title"], made["number_of_failures"]) == ("tell me", 0)
    push_image(Client(telling), "admin/app", "v1", b"x")
    telling.start_worker()
    wait_until("the receiver was told", lambda: bool(receiver.got))
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
    wait_until("nothing is left to tell", lambda: not left(telling))
    telling.stop_worker()
    assert "secret" not in (telling.directory / "worker.log").read_text()


def test_a_site_without_replication_tells_too(
    services: Services, database: str, tmp_path: Path, receiver: Receiver
) -> None:
    changes = {"SSRF_ALLOWED_HOSTS": ["127.0.0.0/8"], "FEATURE_STORAGE_REPLICATION": False}
    with running_site(services, database, tmp_path / "alone", "usstorage", changes) as site:
        ask(Api(site), receiver)
        push_image(Client(site), "admin/app", "v1", b"x")
        with (tmp_path / "housekeeping.log").open("wb") as log:
            house = subprocess.Popen(
                [sys.executable, "-m", "atoll.cli.main", "housekeeping"],
                env=site.environment(),
                stderr=log,
            )
        try:
            wait_until("the receiver was told", lambda: bool(receiver.got))
        finally:
            house.terminate()
            status = house.wait()
        assert (status, left(site)) == (0, [])


def left(site: Site) -> list[Any]:
    return site.graph.database.read("SELECT attempts FROM notificationdelivery")


def test_slack_is_told_in_its_own_form(telling: Site, receiver: Receiver) -> None:
    ask(Api(telling), receiver, "slack")
    push_image(Client(telling), "admin/app", "v1", b"x")
    assert deliverer(telling).run_once()
    (attachment,) = receiver.got[0]["document"]["attachments"]
    assert "admin/app" in attachment["text"]
    assert "v1" in attachment["text"]


def test_a_receiver_that_fails_is_told_again_and_one_that_always_fails_no_more_until_a_reset(
    telling: Site, receiver: Receiver
) -> None:
    api, client = Api(telling), Client(telling)
    uuid = ask(api, receiver)["uuid"]
    teller = deliverer(telling)
    receiver.status = 500
    push_image(client, "admin/app", "v0", b"x")
    assert teller.run_once()
    receiver.status = 302
    assert teller.run_once()
    receiver.status = 204
    assert teller.run_once()
    assert not teller.run_once()
    assert len(receiver.got) == 3
    receiver.status = 503
    for number in range(1, 4):
        push_image(client, "admin/app", f"v{number}", b"x")
        assert [teller.run_once() for _ in range(6)] == [True] * 5 + [False]
        assert api.call("GET", f"{BASE}{uuid}")["number_of_failures"] == number
    push_image(client, "admin/app", "v4", b"x")
    assert not teller.run_once()
    api.call("POST", f"{BASE}{uuid}", status=204)
    receiver.status = 200
    push_image(client, "admin/app", "v5", b"x")
    assert teller.run_once()
    assert receiver.got[-1]["document"]["updated_tags"] == ["v5"]


def test_a_test_tells_at_once_and_a_deleted_notification_tells_nothing(
    telling: Site, receiver: Receiver
) -> None:
    api = Api(telling)
    uuid = ask(api, receiver)["uuid"]
    assert api.call("POST", f"{BASE}{uuid}/test") == {}
    assert deliverer(telling).run_once()
    assert len(receiver.got) == 1
    assert [one["uuid"] for one in api.call("GET", BASE)["notifications"]] == [uuid]
    push_image(Client(telling), "admin/app", "v1", b"x")
    api.call("DELETE", f"{BASE}{uuid}", status=204)
    assert not deliverer(telling).run_once()
    for method, path in (("GET", uuid), ("DELETE", uuid), ("POST", f"{uuid}/test")):
        api.call(method, f"{BASE}{path}", status=404)


def test_a_delivery_in_hand_is_nobody_elses_until_its_lease_ends(
    telling: Site, receiver: Receiver
) -> None:
    ask(Api(telling), receiver)
    push_image(Client(telling), "admin/app", "v1", b"x")
    database = telling.graph.database
    database.run(
        "UPDATE notificationdelivery SET lease_token = gen_random_uuid(),"
        " lease_expires = clock_timestamp() + interval '1 hour'"
    )
    assert not deliverer(telling).run_once()
    database.run("UPDATE notificationdelivery SET lease_expires = clock_timestamp()")
    assert deliverer(telling).run_once()


def test_where_a_notification_goes_is_no_secret_that_lies_about(
    telling: Site, receiver: Receiver
) -> None:
    api = Api(telling)
    ask(api, receiver)
    (config,) = telling.graph.database.read("SELECT config FROM repositorynotification")[0]
    assert "secret" not in config
    stranger = Api(telling, None)
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
def test_a_notification_that_cannot_be_sent_is_refused_with_a_reason(
    telling: Site, receiver: Receiver, change: dict[str, object]
) -> None:
    api = Api(telling)
    ask(api, receiver)
    wanted = {"event": "repo_push", "method": "webhook", "config": {"url": receiver.url}}
    assert api.call("POST", BASE, wanted | change, 400)["error_message"]


def test_tls_is_verified(telling: Site, services: Services) -> None:
    """The store's certificate is trusted by this site alone."""
    url = f"https://127.0.0.1:{services.us.port}/"
    bundle = telling.graph.bundle
    with pytest.raises(RequestFailed, match="certificate"):
        Receivers(OutboundClient.from_bundle(bundle, None)).post(url, {})
    trusting = OutboundClient.from_bundle(bundle, str(services.us.certificate))
    with pytest.raises(NotReceived, match="responded with status"):
        Receivers(trusting).post(url, {})
