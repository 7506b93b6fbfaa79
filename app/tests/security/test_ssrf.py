"""Webhooks and log exports do not make the registry send requests to private addresses.

The attacker administers a repository and the name server of a domain. The victim listens on a
private address that the registry can reach, like services next to it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg2
import pytest
import requests

from ..image.conftest import make_database
from ..image.running import CONFINED, RunningImage, running_image, write_bundle
from ..integration.receiver import RedirectingReceiver
from ..integration.services import Services, container_address, podman_client, wait_until
from .dns_server import NameServer

ALLOWED = "allowed.hooks.example"
PUBLIC = "93.184.215.14"


@dataclass
class Attacker:
    """An administrator of the repository `admin/app` of the running registry."""

    image: RunningImage
    database: str
    names: NameServer
    victim: RedirectingReceiver
    private: str
    other_private: str

    def call(self, method: str, path: str, body: object = None) -> requests.Response:
        return self.image.session().request(
            method,
            f"{self.image.url}/api/v1/{path}",
            json=body,
            auth=(self.image.username, self.image.password),
        )

    def subscribe(self, url: str) -> requests.Response:
        body = {"event": "repo_push", "method": "webhook", "config": {"url": url}}
        return self.call("POST", "repository/admin/app/notification/", body)

    def test_webhook(self, url: str) -> str:
        """Make the registry send a request to a URL, and return the notification."""
        answer = self.subscribe(url)
        assert answer.status_code == 201, answer.text
        uuid = str(answer.json()["uuid"])
        tested = self.call("POST", f"repository/admin/app/notification/{uuid}/test")
        assert tested.status_code == 200, tested.text
        return uuid

    def view(self, uuid: str) -> dict[str, Any]:
        answer = self.call("GET", f"repository/admin/app/notification/{uuid}").json()
        return {key: answer[key] for key in answer if key not in ("uuid", "config")}

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Read the registry's database, as only its operator can."""
        connection = psycopg2.connect(self.database)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def wait_for_attempts(self) -> None:
        """Wait until every delivery was attempted; successful ones are deleted, others failed."""
        wait_until(
            "all deliveries were attempted",
            lambda: (
                not self.query("SELECT 1 FROM notificationdelivery WHERE last_error IS NULL")
                and not self.query(
                    "SELECT 1 FROM logexport WHERE last_error IS NULL AND ended_at IS NULL"
                )
            ),
        )


@pytest.fixture(scope="module")
def attacker(
    services: Services, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Attacker]:
    with podman_client() as client:
        subnet = client.networks.get(services.network).attrs["subnets"][0]
    private, other = str(subnet["gateway"]), container_address(services.redis, services.network)
    database = make_database(services, template)
    changes = {
        "FEATURE_STORAGE_REPLICATION": False,
        "SSRF_ALLOWED_HOSTS": [ALLOWED, f"{other}/32"],
        "WEBHOOK_HOSTNAME_BLACKLIST": ["forbidden.hooks.example", "198.51.99.0/24"],
    }
    stack = write_bundle(services, database, tmp_path_factory.mktemp("ssrf"), changes)
    uri = services.postgres_uri.rpartition("/")[0] + f"/{database}"
    with (
        NameServer(private, {ALLOWED: [[private]]}).running() as names,
        RedirectingReceiver(private).running() as victim,
        running_image(services, stack, options=(*CONFINED, f"--dns={private}")) as image,
    ):
        one = Attacker(image, uri, names, victim, private, other)
        body = {
            "repository": "app",
            "namespace": "admin",
            "visibility": "private",
            "description": "",
        }
        assert one.call("POST", "repository", body).status_code == 201
        yield one


@pytest.fixture(autouse=True)
def clean(attacker: Attacker) -> None:
    attacker.query("DELETE FROM repositorynotification")
    attacker.query("DELETE FROM logexport")
    attacker.victim.got.clear()


def test_an_allowed_host_receives_webhooks_and_exports(attacker: Attacker) -> None:
    url = f"http://{ALLOWED}:{attacker.victim.port}"
    attacker.test_webhook(f"{url}/hook")
    asked = attacker.call("POST", "user/exportlogs", {"callback_url": f"{url}/export"})
    assert asked.status_code == 200, asked.text
    wait_until("both requests arrived", lambda: len(attacker.victim.got) == 2)
    assert sorted(attacker.victim.got) == [(ALLOWED, "/export"), (ALLOWED, "/hook")]


def test_a_private_address_is_refused_in_every_notation(attacker: Attacker) -> None:
    address = ipaddress.IPv4Address(attacker.private)
    number = int(address)
    for host in (
        str(address),
        f"{address}.",
        str(number),
        hex(number),
        f"0{number:o}",
        f"{number >> 24}.{number & 0xFFFFFF}",
        f"[::ffff:{address}]",
        f"[64:ff9b::{address}]",
        f"[{ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1)}]",
        "127.0.0.1",
        "[::1]",
        "169.254.169.254",
        "forbidden.hooks.example",
        "Forbidden.Hooks.Example.",
        "forbidden\u3002hooks.example",
        "198.51.99.7",
    ):
        url = f"http://{host}:{attacker.victim.port}/"
        assert attacker.subscribe(url).status_code == 400, host
        asked = attacker.call("POST", "user/exportlogs", {"callback_url": url})
        assert asked.status_code == 400, host
    assert attacker.victim.got == []


def test_a_name_of_a_private_address_receives_nothing(attacker: Attacker) -> None:
    names = {
        "private.hooks.example": [[attacker.private]],
        "mapped.hooks.example": [[f"::ffff:{attacker.private}"]],
        "both.hooks.example": [[PUBLIC, attacker.private]],
        "loop.hooks.example": [["127.0.0.1"]],
        "registry.internal": [[attacker.private]],
    }
    attacker.names.names |= names
    for name in names:
        for port in (attacker.victim.port, 9091):
            attacker.test_webhook(f"http://{name}:{port}/metrics")
    url = f"http://private.hooks.example:{attacker.victim.port}/"
    assert attacker.call("POST", "user/exportlogs", {"callback_url": url}).status_code == 200
    attacker.wait_for_attempts()
    assert attacker.victim.got == []
    errors = attacker.query("SELECT last_error FROM notificationdelivery")
    errors += attacker.query("SELECT last_error FROM logexport")
    assert len(errors) == 11
    assert all("SSRF_ALLOWED_HOSTS" in error for (error,) in errors)


def test_a_name_that_resolves_differently_the_second_time_receives_nothing(
    attacker: Attacker,
) -> None:
    """The first address is permitted, although nothing listens there; the second one is not."""
    name = "rebind.hooks.example"
    attacker.names.names[name] = [[attacker.other_private], [attacker.private]]
    attacker.test_webhook(f"http://{name}:{attacker.victim.port}/")
    attacker.wait_for_attempts()
    assert attacker.names.asked[name] == 1
    ((first,),) = attacker.query("SELECT last_error FROM notificationdelivery")
    assert "SSRF_ALLOWED_HOSTS" not in first
    attacker.query("UPDATE notificationdelivery SET available_at = now(), last_error = NULL")
    attacker.wait_for_attempts()
    assert attacker.names.asked[name] == 2
    ((second,),) = attacker.query("SELECT last_error FROM notificationdelivery")
    assert "SSRF_ALLOWED_HOSTS" in second
    assert attacker.victim.got == []


def test_a_redirect_is_not_followed(attacker: Attacker) -> None:
    attacker.names.names["target.hooks.example"] = [[attacker.private]]
    attacker.victim.location = f"http://target.hooks.example:{attacker.victim.port}/secret"
    attacker.test_webhook(f"http://{ALLOWED}:{attacker.victim.port}/redirect")
    attacker.wait_for_attempts()
    assert attacker.victim.got == [(ALLOWED, "/redirect")]


def test_the_api_does_not_distinguish_open_closed_and_refused_ports(attacker: Attacker) -> None:
    attacker.names.names |= {
        "private.hooks.example": [[attacker.private]],
        "closed.hooks.example": [[attacker.other_private]],
    }
    port = attacker.victim.port
    uuids = [
        attacker.test_webhook(url)
        for url in (
            f"http://private.hooks.example:{port}/",
            "http://private.hooks.example:1/",
            "http://closed.hooks.example:1/",
            # Redis listens there, and speaks another protocol.
            "http://closed.hooks.example:6379/",
            "http://unknown.hooks.example/",
            f"http://{ALLOWED}:{port}/redirect",
            f"https://{ALLOWED}:{port}/",
        )
    ]
    attacker.wait_for_attempts()
    views = [attacker.view(uuid) for uuid in uuids]
    assert all(view == views[0] for view in views)
    attacker.query("UPDATE notificationdelivery SET available_at = now(), attempts = 4")
    wait_until(
        "all deliveries have failed for good",
        lambda: not attacker.query("SELECT 1 FROM notificationdelivery"),
    )
    views = [attacker.view(uuid) for uuid in uuids]
    assert views[0]["number_of_failures"] == 1
    assert all(view == views[0] for view in views)


def test_a_non_ascii_url_is_encoded_and_its_delivery_fails_as_usual(
    attacker: Attacker,
) -> None:
    attacker.test_webhook(f"http://{ALLOWED}:{attacker.victim.port}/\u00fc?q=\u00e4")
    wait_until("the request arrived", lambda: bool(attacker.victim.got))
    assert attacker.victim.got == [(ALLOWED, "/%C3%BC?q=%C3%A4")]
    attacker.test_webhook("http://unknown.hooks.example/\u00fc")
    attacker.wait_for_attempts()
    attacker.query("UPDATE notificationdelivery SET available_at = now(), attempts = 4")
    wait_until(
        "the delivery has failed for good",
        lambda: not attacker.query("SELECT 1 FROM notificationdelivery"),
    )


def test_tests_and_notifications_are_limited(attacker: Attacker) -> None:
    url = f"http://{ALLOWED}:{attacker.victim.port}/"
    uuid = attacker.test_webhook(url)
    repeated = attacker.call("POST", f"repository/admin/app/notification/{uuid}/test")
    assert repeated.status_code == 429, repeated.text
    assert int(repeated.headers["Retry-After"]) > 0
    statuses = [attacker.subscribe(url).status_code for _ in range(25)]
    assert statuses.count(201) == 19
    assert statuses[-1] == 400
