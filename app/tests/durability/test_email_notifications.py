"""Notifications are sent by e-mail to addresses whose owners agreed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import pytest
from atoll.mirroring.events import MirrorEvents
from atoll.names import RepositoryName
from atoll.web.app import create_app

from ..smtp_server import MailServer, mail_server
from .api_client import ApiClient
from .mirrored import make_mirror, mirrors
from .notification_queue import RecordingReceivers, deliverer
from .sites import SUPERUSER, MemoryRegistry, MemorySite, make_registry

REPOSITORY = RepositoryName(SUPERUSER, "mirrored")
BASE = f"repository/{REPOSITORY}"
ADDRESS = "ops+registry@example.org"
PATH = f"{BASE}/authorizedemail/ops%2Bregistry@example.org"
SETTINGS: dict[str, object] = {
    "FEATURE_MAILING": True,
    "MAIL_SERVER": "127.0.0.1",
    "MAIL_USE_TLS": False,
    "MAIL_DEFAULT_SENDER": "registry@example.com",
}


@pytest.fixture
def mails() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path, mails: MailServer) -> MemorySite:
    """A site with a mirror, which sends e-mail to `mails`."""
    changes = {**SETTINGS, "MAIL_PORT": mails.port}
    site = make_registry(make_database(), tmp_path, ["us"], changes)["us"]
    make_mirror(site, REPOSITORY)
    return site


def subscribe(api: ApiClient, *, status: int = 201) -> Any:
    body = {
        "event": "repo_mirror_sync_failed",
        "method": "email",
        "config": {"email": ADDRESS},
        "eventConfig": {},
    }
    return api.call("POST", f"{BASE}/notification/", body, status=status)


def open_link(site: MemorySite, link: str, method: str = "GET") -> falcon.testing.Result:
    """Open the page of a link or, with POST, send its form as a browser does."""
    client = falcon.testing.TestClient(create_app(site.graph.dependencies()))
    headers = {}
    if method == "POST":
        headers = {"Content-Type": falcon.MEDIA_URLENCODED, "Sec-Fetch-Site": "same-origin"}
    return client.simulate_request(
        method, link.removeprefix("http://registry.test"), headers=headers
    )


def link_in(server: MailServer) -> str:
    found = re.search(r"http://registry\.test\S+", server.messages[-1].get_content())
    assert found is not None
    return found[0]


def confirm(site: MemorySite, server: MailServer, api: ApiClient) -> None:
    api.call("POST", PATH)
    assert open_link(site, link_in(server), "POST").status_code == 200


def fail_a_run(site: MemorySite) -> None:
    events = MirrorEvents.of(mirrors(site).find(REPOSITORY))
    with site.database.transaction() as cursor:
        events.failed(cursor, "partial")


def test_an_address_is_confirmed_by_its_owner_and_then_notified(
    site: MemorySite, mails: MailServer
) -> None:
    api = ApiClient(site)
    answer = {
        "email": ADDRESS,
        "repository": REPOSITORY.name,
        "namespace": SUPERUSER,
        "confirmed": False,
    }
    api.call("GET", PATH, status=404)
    assert "not authorized" in subscribe(api, status=400)["error_message"]
    assert api.call("POST", PATH) == answer
    assert api.call("GET", PATH) == answer
    assert "not authorized" in subscribe(api, status=400)["error_message"]
    assert mails.recipients == [[ADDRESS]]
    link = link_in(mails)
    for _ in range(2):
        opened = open_link(site, link, "POST")
        assert opened.status_code == 200
        assert opened.text == f"{ADDRESS} may receive notifications of {REPOSITORY} from now on.\n"
    assert api.call("GET", PATH) == {**answer, "confirmed": True}
    assert api.call("POST", PATH) == {**answer, "confirmed": True}
    assert len(mails.messages) == 1
    assert subscribe(api)["config"] == {"email": ADDRESS}
    fail_a_run(site)
    assert deliverer(site, RecordingReceivers()).run_once()
    message = mails.messages[-1]
    assert message["Subject"] == (
        f"[registry.test] {REPOSITORY} could not be mirrored: registry.example.com/team/app,"
        " tags *: some tags could not be copied"
    )
    assert f"http://registry.test/repository/{REPOSITORY}" in message.get_content()


def test_a_mail_server_that_fails_is_asked_again_and_the_run_is_not_affected(
    site: MemorySite, mails: MailServer
) -> None:
    api = ApiClient(site)
    confirm(site, mails, api)
    uuid = subscribe(api)["uuid"]
    worker = deliverer(site, RecordingReceivers())
    mails.responses["RCPT"] = f"451 {ADDRESS} later"
    fail_a_run(site)
    assert worker.run_once()
    ((error,),) = site.database.read("SELECT last_error FROM notificationdelivery")
    assert error == "the mail server refused the recipient with status 451"
    mails.responses.clear()
    assert worker.run_once()
    assert len(mails.messages) == 2
    mails.responses["message"] = "554 no"
    fail_a_run(site)
    assert [worker.run_once() for _ in range(6)] == [True] * 5 + [False]
    found = api.call("GET", f"{BASE}/notification/{uuid}")
    assert found["number_of_failures"] == 1
    assert site.database.read(
        "SELECT count(*) FROM logentry WHERE kind = 'repo_mirror_sync_failed'"
    ) == [[2]]


def test_a_link_that_is_only_opened_confirms_nothing(site: MemorySite, mails: MailServer) -> None:
    api = ApiClient(site)
    api.call("POST", PATH)
    page = open_link(site, link_in(mails))
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert '<form method="post">' in page.text
    assert ADDRESS in page.text
    assert str(REPOSITORY) in page.text
    assert api.call("GET", PATH)["confirmed"] is False


def test_the_page_of_a_link_quotes_the_address(site: MemorySite, mails: MailServer) -> None:
    ApiClient(site).call("POST", f"{BASE}/authorizedemail/a&lt@example.org")
    assert "a&amp;lt@example.org" in open_link(site, link_in(mails)).text


def test_a_link_expires_and_a_new_one_replaces_it(site: MemorySite, mails: MailServer) -> None:
    api = ApiClient(site)
    api.call("POST", PATH)
    first = link_in(mails)
    assert api.request("POST", PATH).status_code == 429
    site.database.run(
        "UPDATE repositoryauthorizedemail SET requested_at = now() - interval '3 days'"
    )
    assert open_link(site, first).status_code == 400
    api.call("POST", PATH)
    assert open_link(site, first).status_code == 400
    assert open_link(site, link_in(mails)).status_code == 200
    for method in ("GET", "POST"):
        assert open_link(site, "/authrepoemail?code=guess", method).status_code == 400


def test_the_number_of_links_is_limited(site: MemorySite, mails: MailServer) -> None:
    api = ApiClient(site)
    for number in range(20):
        api.call("POST", f"{BASE}/authorizedemail/user{number}@example.org")
    response = api.request("POST", f"{BASE}/authorizedemail/user20@example.org")
    assert response.status_code == 429
    assert response.headers["retry-after"] == "60"
    assert len(mails.messages) == 20


@pytest.mark.parametrize("between", ["repeat", "delete"])
def test_an_address_gets_few_links_whatever_is_requested(
    site: MemorySite, mails: MailServer, between: str
) -> None:
    api = ApiClient(site)
    statements = {
        "repeat": "UPDATE repositoryauthorizedemail SET requested_at = now() - interval '2 min'",
        # As the deletion of the repository does.
        "delete": "DELETE FROM repositoryauthorizedemail",
    }
    for number in range(5):
        domain = ("example.org", "EXAMPLE.org")[number % 2]
        api.call("POST", f"{BASE}/authorizedemail/user@{domain}")
        site.database.run(statements[between])
    refused = api.request("POST", f"{BASE}/authorizedemail/user@example.org")
    assert refused.status_code == 429
    assert len(mails.messages) == 5


@pytest.mark.parametrize("address", ["nobody", "a@b@c", "a%20b@example.org", "a@example.org%0d"])
def test_what_is_no_address_gets_no_message(
    site: MemorySite, mails: MailServer, address: str
) -> None:
    assert ApiClient(site).request("POST", f"{BASE}/authorizedemail/{address}").status_code == 400
    assert mails.messages == []


def test_a_message_that_cannot_be_sent_is_an_error(site: MemorySite, mails: MailServer) -> None:
    mails.responses["MAIL"] = f"451 {ADDRESS} later"
    response = ApiClient(site).request("POST", PATH)
    assert response.status_code == 503
    assert "451" not in response.text


def test_only_administrators_of_the_repository_request_links(
    site: MemorySite, mails: MailServer
) -> None:
    ApiClient(site, None).call("POST", PATH, status=401)
    ApiClient(site, None).call("GET", PATH, status=401)
    assert mails.messages == []


def test_the_code_is_not_stored(site: MemorySite, mails: MailServer) -> None:
    ApiClient(site).call("POST", PATH)
    code = link_in(mails).partition("code=")[2]
    rows = site.database.read("SELECT row_to_json(a)::text FROM repositoryauthorizedemail a")
    assert code not in json.dumps(rows)


def test_without_mailing_there_are_no_addresses(registry: MemoryRegistry) -> None:
    site = registry["us"]
    make_mirror(site, REPOSITORY)
    api = ApiClient(site)
    api.call("GET", PATH, status=404)
    assert "FEATURE_MAILING" in subscribe(api, status=400)["error_message"]
