"""Log files: exports on request, and rotation of old entries."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from atoll.audit.export_worker import LogExporter
from atoll.audit.rotation import LogRotation
from atoll.storage.errors import ObjectMissing, StoreUnavailable

from .clients import Api, add_user
from .images import push_image_with_layer
from .receiver import Receiver
from .services import Services, wait_until
from .site import PASSWORD, SUPERUSER, Client, Site, running_site


@pytest.fixture
def site_with_receiver(services: Services, database: str, tmp_path: Path) -> Iterator[Site]:
    """A site that may send requests to a receiver on this machine."""
    changes = {"SSRF_ALLOWED_HOSTS": ["127.0.0.1"]}
    with running_site(services, database, tmp_path / "telling", "usstorage", changes) as site:
        yield site


def exporter(site: Site) -> LogExporter:
    """Return an exporter that retries without waiting."""
    site_services = site.services
    return LogExporter(
        site_services.database,
        site_services.cipher,
        site_services.receivers,
        site_services.export_links,
        backoff_seconds=0,
    )


def fetch(site: Site, url: str) -> dict[str, Any]:
    answer = Client(site).session.get(url)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_part_of_the_log_is_exported_to_a_file_and_the_receiver_gets_its_url(
    site_with_receiver: Site, receiver: Receiver
) -> None:
    api = Api(site_with_receiver)
    push_image_with_layer(Client(site_with_receiver), "admin/app", "v1", b"x")
    push_image_with_layer(Client(site_with_receiver), "admin/other", "v1", b"x")
    path = "repository/admin/app/exportlogs"
    asked = api.call("POST", path, {"callback_url": receiver.url})
    assert exporter(site_with_receiver).run_once()
    assert not exporter(site_with_receiver).run_once()
    callback = receiver.got[0]["document"]
    assert (callback["export_id"], callback["status"]) == (asked["export_id"], "success")
    assert (callback["namespace"], callback["repository"]) == ("admin", "app")
    url = callback["exported_data_url"]
    assert site_with_receiver.url not in url
    document = fetch(site_with_receiver, url)
    *entries, last = document["logs"]
    assert (document["export_id"], last) == (asked["export_id"], {"terminator": True})
    assert {entry["kind"] for entry in entries} >= {"push_repo"}
    assert {entry["repository"] for entry in entries} == {"app"}
    assert {entry["performer"]["name"] for entry in entries} == {SUPERUSER}
    kinds = [entry["kind"] for entry in api.call("GET", "repository/admin/app/logs")["logs"]]
    assert kinds[0] == "export_logs_success"


@pytest.mark.parametrize("path", ["user/exportlogs", "organization/acme/exportlogs"])
def test_a_long_log_is_exported_completely(
    site_with_receiver: Site, receiver: Receiver, path: str
) -> None:
    api = Api(site_with_receiver)
    api.call("POST", "organization/", {"name": "acme"}, 201)
    site_with_receiver.services.database.run(
        "INSERT INTO logentry (kind, namespace, performer, metadata)"
        " SELECT 'push_repo', namespace, 'admin', jsonb_build_object('number', number)"
        " FROM generate_series(1, 2500) AS number, (VALUES ('admin'), ('acme')) AS n (namespace)"
    )
    api.call("POST", path, {"callback_url": receiver.url})
    exporter(site_with_receiver).run_once()
    entries = fetch(site_with_receiver, receiver.got[0]["document"]["exported_data_url"])["logs"][
        :-1
    ]
    numbers = [entry["metadata"].get("number") for entry in entries]
    assert sorted(number for number in numbers if number) == list(range(1, 2501))


def test_an_export_requires_log_permission_and_a_receiver(site_with_receiver: Site) -> None:
    api = Api(site_with_receiver)
    push_image_with_layer(Client(site_with_receiver), "admin/app", "v1", b"x")
    url = {"callback_url": "https://example.com/hook"}
    path = "repository/admin/app/exportlogs"
    add_user(api, "alice").call("POST", path, url, 403)
    Api(site_with_receiver, None).call("POST", path, url, 401)
    refused = api.call("POST", path, {"callback_email": "a@example.com"}, 400)
    assert "e-mail is not supported" in refused["error_message"]
    for wrong in ({}, {"callback_url": "ftp://example.com"}, {"callback_url": "http://127.0.0.2/"}):
        api.call("POST", path, wrong, 400)
    api.call("POST", f"{path}?starttime=x", url, 400)


def test_an_unavailable_receiver_is_retried_and_the_file_is_written_once(
    site_with_receiver: Site, receiver: Receiver
) -> None:
    api = Api(site_with_receiver)
    api.call("POST", "user/exportlogs", {"callback_url": receiver.url})
    receiver.status = 500
    assert exporter(site_with_receiver).run_once()
    (before,) = site_with_receiver.services.database.read(
        "SELECT location, size, ended_at FROM logexport"
    )
    assert before[2] is None
    # Entries of the meantime are not in it, as the file is not written again.
    api.call("POST", "organization/", {"name": "acme"}, 201)
    receiver.status = 200
    assert exporter(site_with_receiver).run_once()
    (after,) = site_with_receiver.services.database.read("SELECT location, size FROM logexport")
    assert list(after) == list(before[:2])
    assert receiver.got[-1]["document"]["status"] == "success"


def test_an_export_that_fails_every_attempt_is_reported_as_failed(
    site_with_receiver: Site, receiver: Receiver
) -> None:
    Api(site_with_receiver).call("POST", "user/exportlogs", {"callback_url": receiver.url})
    site_services = site_with_receiver.services
    unwritable = _UnwritableLocations(site_with_receiver.locations)
    links = replace(site_services.export_links, locations=unwritable)  # type: ignore[arg-type]
    one = LogExporter(
        site_services.database,
        site_services.cipher,
        site_services.receivers,
        links,
        backoff_seconds=0,
    )
    attempts = 0
    while one.run_once():
        attempts += 1
    (document,) = [entry["document"] for entry in receiver.got]
    assert (attempts, document["status"], document["exported_data_url"]) == (8, "failed", None)


class _UnwritableLocations:
    """The stores of a site, all of which refuse writes."""

    def __init__(self, locations: Any) -> None:
        self.stores = locations.stores
        self.selection = self

    def to_write(self) -> str:
        raise StoreUnavailable("usstorage", "simulated by the test")


def test_a_callback_is_stored_encrypted(site_with_receiver: Site, receiver: Receiver) -> None:
    Api(site_with_receiver).call("POST", "user/exportlogs", {"callback_url": receiver.url})
    ((kept,),) = site_with_receiver.services.database.read("SELECT callback_url FROM logexport")
    assert kept.startswith("v1$$")
    assert "secret" not in kept


def test_a_file_is_deleted_when_its_retention_time_ends(
    site_with_receiver: Site, receiver: Receiver
) -> None:
    Api(site_with_receiver).call("POST", "user/exportlogs", {"callback_url": receiver.url})
    one = exporter(site_with_receiver)
    one.run_once()
    assert one.delete_expired() == 0
    database = site_with_receiver.services.database
    ((uuid,),) = database.read("SELECT uuid FROM logexport")
    database.run("UPDATE logexport SET ended_at = ended_at - interval '1 day'")
    assert one.delete_expired() == 1
    assert database.read("SELECT 1 FROM logexport") == []
    with pytest.raises(ObjectMissing):
        site_with_receiver.locations.stores["usstorage"].size(f"exportedactionlogs/{uuid}.json")


def test_the_registry_sends_the_file_where_clients_are_not_redirected_to_stores(
    services: Services, database: str, tmp_path: Path, receiver: Receiver
) -> None:
    changes = {"SSRF_ALLOWED_HOSTS": ["127.0.0.1"], "FEATURE_PROXY_STORAGE": True}
    with running_site(services, database, tmp_path / "proxied", "usstorage", changes) as site:
        Api(site).call("POST", "user/exportlogs", {"callback_url": receiver.url})
        exporter(site).run_once()
        url = receiver.got[0]["document"]["exported_data_url"]
        own, _, rest = url.partition("/exportedlogs")
        assert own == "http://registry.test"
        here = f"{site.url}/exportedlogs{rest}"
        assert fetch(site, here)["logs"]
        assert requests.get(f"{here}x").status_code == 404
        assert requests.get(f"{site.url}/exportedlogs").status_code == 400


@pytest.mark.parametrize(("access", "status"), [(None, 200), (False, 403)])
def test_users_export_the_log_of_their_namespace_unless_the_bundle_disables_it(
    services: Services, database: str, tmp_path: Path, access: bool | None, status: int
) -> None:
    changes = {} if access is None else {"FEATURE_USER_LOG_ACCESS": access}
    with running_site(services, database, tmp_path / "access", "usstorage", changes) as site:
        url = {"callback_url": "https://example.com/hook"}
        add_user(Api(site), "alice").call("POST", "user/exportlogs", url, status)
        Api(site, SUPERUSER, PASSWORD).call("POST", "user/exportlogs", url)


# Rotation -----------------------------------------------------------------------------------


def rotation(site: Site, location: str | None = None) -> LogRotation:
    return replace(
        LogRotation.from_bundle(site.services.bundle, site.services.database, site.locations),
        location=location,
    )


def insert_old_entries(site: Site, number: int) -> None:
    """Insert log entries that are older than a month."""
    site.services.database.run(
        "INSERT INTO logentry (kind, namespace, repository, performer, ip, metadata, created_at)"
        " SELECT 'pull_repo', 'admin', 'app', 'admin', '192.0.2.1',"
        "        jsonb_build_object('number', number), now() - interval '31 days'"
        " FROM generate_series(1, %s) AS number",
        [number],
    )


def archived(services: Services, location: str = "usstorage") -> list[dict[str, Any]]:
    """Return the entries in all files at a location."""
    store = services.us if location == "usstorage" else services.eu
    found: list[dict[str, Any]] = []
    for key in sorted(key for key in store.objects() if "archive/actionlogs" in key):
        body = store.client.get_object(Bucket=store.bucket, Key=key)["Body"]
        found += json.loads(gzip.decompress(body.read()))
    return found


def test_only_old_entries_are_moved_to_files_at_a_store(us: Site, services: Services) -> None:
    Api(us).call("POST", "organization/", {"name": "acme"}, 201)
    insert_old_entries(us, 12_000)
    assert rotation(us, "eustorage").rotate() == 12_000
    assert rotation(us, "eustorage").rotate() == 0
    kept = archived(services, "eustorage")
    assert sorted(entry["metadata"]["number"] for entry in kept) == list(range(1, 12_001))
    assert {(entry["kind"], entry["ip"]) for entry in kept} == {("pull_repo", "192.0.2.1")}
    kinds = [row[0] for row in us.services.database.read("SELECT kind FROM logentry")]
    assert kinds == ["org_create"]


def test_entries_stay_in_the_database_until_they_are_stored_in_a_file(
    us: Site, services: Services
) -> None:
    insert_old_entries(us, 3)
    cut_off = replace(rotation(us), locations=_UnwritableLocations(us.locations))  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable):
        cut_off.rotate()
    assert us.services.database.read("SELECT count(*) FROM logentry")[0][0] == 3
    assert rotation(us).rotate() == 3
    assert len(archived(services)) == 3


def test_two_sites_do_not_rotate_the_same_entries(us: Site, eu: Site, services: Services) -> None:
    insert_old_entries(us, 3)
    with us.services.database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('log rotation', 0))")
        assert rotation(eu).rotate() == 0
    assert rotation(eu, "usstorage").rotate() == 3
    assert len(archived(services)) == 3


def test_the_worker_runs_requested_exports_and_rotates_old_entries(
    services: Services, database: str, tmp_path: Path, receiver: Receiver
) -> None:
    changes = {"SSRF_ALLOWED_HOSTS": ["127.0.0.1"], "FEATURE_ACTION_LOG_ROTATION": True}
    with running_site(services, database, tmp_path / "working", "usstorage", changes) as site:
        insert_old_entries(site, 3)
        Api(site).call("POST", "user/exportlogs", {"callback_url": receiver.url})
        site.start_worker()
        wait_until("the receiver is notified", lambda: bool(receiver.got))
        wait_until("old entries are at the store", lambda: len(archived(services)) == 3)
        kinds = site.services.database.read("SELECT DISTINCT kind FROM logentry")
        assert kinds == [["export_logs_success"]]
