"""Credentials of an assumed role are requested on first use and refreshed before they expire."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from atoll.config.stores import AssumedRoleSettings
from atoll.storage.drivers import make_store
from atoll.storage.errors import StoreUnavailable


class RoleService(BaseHTTPRequestHandler):
    """The part of Amazon's STS that AssumeRole needs."""

    asked: ClassVar[list[str]] = []
    life: ClassVar[datetime.timedelta] = datetime.timedelta(hours=1)

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.asked.append(parse_qs(self.rfile.read(length).decode())["RoleArn"][0])
        end = (datetime.datetime.now(datetime.UTC) + self.life).isoformat()
        body = f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
            <AssumeRoleResult><Credentials><AccessKeyId>lent-{len(self.asked)}</AccessKeyId>
            <SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>
            <Expiration>{end}</Expiration></Credentials></AssumeRoleResult>
            </AssumeRoleResponse>""".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        """Log nothing."""


@pytest.fixture
def service() -> Iterator[str]:
    RoleService.asked.clear()
    RoleService.life = datetime.timedelta(hours=1)
    with ThreadingHTTPServer(("127.0.0.1", 0), RoleService) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def settings(service: str) -> AssumedRoleSettings:
    class Tested(AssumedRoleSettings):
        role_service: ClassVar[str | None] = service

    return Tested(
        storage_path="/registry",
        s3_bucket="blobs",
        sts_role_arn="arn:aws:iam::1:role/registry",
        sts_user_access_key="user",
        sts_user_secret_key="secret",
        endpoint_url="http://127.0.0.1:9",
    )


def key_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["X-Amz-Credential"][0].partition("/")[0]


def test_a_role_is_assumed_on_first_use_and_reused_until_it_expires(service: str) -> None:
    store = make_store("us", settings(service))
    assert RoleService.asked == []
    urls = [store.presigned_url("key", 60) for _ in range(3)]
    assert [key_of(url or "") for url in urls] == ["lent-1"] * 3
    assert RoleService.asked == ["arn:aws:iam::1:role/registry"]


def test_a_role_that_expires_soon_is_assumed_again(service: str) -> None:
    store = make_store("us", settings(service))
    RoleService.life = datetime.timedelta(minutes=5)
    assert key_of(store.presigned_url("key", 60) or "") == "lent-1"
    RoleService.life = datetime.timedelta(hours=1)
    assert key_of(store.presigned_url("key", 60) or "") == "lent-2"


def test_an_unavailable_role_service_is_reported_as_an_unavailable_store() -> None:
    store = make_store("us", settings("http://127.0.0.1:9"))
    with pytest.raises(StoreUnavailable, match="EndpointConnectionError"):
        store.presigned_url("key", 60)
    with pytest.raises(StoreUnavailable):
        store.probe(write=False)
