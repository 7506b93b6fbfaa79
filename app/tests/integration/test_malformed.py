"""Malformed requests are answered with 4xx, never with 5xx or a traceback."""

from __future__ import annotations

import logging
import os
import random

import pytest
import requests

from .images import push_image
from .site import Client, Site

REPOSITORY = "admin/app"
SCOPE = f"repository:{REPOSITORY}:*"
REQUESTS = 1000

NAMES = [
    "admin/app",
    "admin",
    "",
    "/",
    "Admin/app",
    "admin/../app",
    "a" * 300,
    "é",
    "admin//app",
    "admin/app/blobs",
    "%00",
    "%ff",
    "..",
    "admin/app%0a",
    "v2/v2/v2",
]
DIGESTS = [
    "sha256:" + "a" * 64,
    "sha256:",
    "sha256:xyz",
    "md5:abc",
    "sha512:" + "b" * 128,
    "a:b:c",
    "%00",
    "sha256:" + "A" * 64,
    "latest",
    "." * 200,
    "-x",
    "uploads",
]
QUERIES = [
    "",
    "?digest=",
    "?digest=sha256:x",
    "?n=-1",
    "?n=abc",
    "?n=99999999999999999999",
    "?last=%00",
    "?last=%ff%fe",
    "?mount=x&from=y",
    "?_state=a.b.c",
    "?_state=%00",
    "?artifactType=%00",
    "?tag=.bad",
    "?n=1&n=2",
    "?" + "&".join(["a=b"] * 50),
    "?%=%",
]
HEADERS = [
    {},
    {"Range": "bytes=9-1"},
    {"Range": "x"},
    {"Content-Range": "x"},
    {"Content-Range": "5-1"},
    {"Content-Range": "0-" + "9" * 30},
    {"Content-Type": "text/plain"},
    {"Content-Type": "\x80"},
    {"Content-Type": "application/vnd.oci.image.manifest.v1+json"},
    {"If-None-Match": "'x"},
    {"Host": "a b"},
    {"X-Forwarded-Proto": "gopher"},
    {"X-Request-Id": "x" * 5000},
    {"Accept": ";;;"},
    {"Authorization": "Basic \x80"},
]
BODIES = [
    b"",
    b"{",
    b"[]",
    b'{"schemaVersion": 2}',
    b"\xff" * 100,
    b'{"schemaVersion":2,"config":7}',
    b'{"schemaVersion":2,"config":{"digest":"sha256:\\u0000"},"layers":[]}',
    b"[" * 50_000,
    b'{"a":' * 2000,
]


def paths(chance: random.Random) -> str:
    name, digest = chance.choice(NAMES), chance.choice(DIGESTS)
    path = chance.choice(
        [
            f"/v2/{name}/blobs/{digest}",
            f"/v2/{name}/blobs/uploads/",
            f"/v2/{name}/blobs/uploads/{digest}",
            f"/v2/{name}/manifests/{digest}",
            f"/v2/{name}/tags/list",
            f"/v2/{name}/referrers/{digest}",
            f"/v2/{name}",
            "/v2/_catalog",
            "/v2/auth",
            "/" + name,
        ]
    )
    return path + chance.choice(QUERIES)


@pytest.mark.filterwarnings("ignore")
def test_a_thousand_malformed_requests_cause_no_server_error(
    us: Site, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(us)
    push_image(client)
    client.tokens["everything"] = client._new_token(f"{SCOPE} registry:catalog:*")
    chance = random.Random(int(os.environ.get("ATOLL_TEST_SEED", "20261120")))
    broken = []
    with caplog.at_level(logging.ERROR):
        for _ in range(REQUESTS):
            method = chance.choice(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
            path = paths(chance)
            headers = dict(chance.choice(HEADERS))
            headers.setdefault("Authorization", f"Bearer {client.tokens['everything']}")
            encoded = {name: value.encode("latin-1") for name, value in headers.items()}
            request = client.session.prepare_request(
                requests.Request(method, us.url, data=chance.choice(BODIES))
            )
            request.url = us.url + path
            request.headers.update(encoded)  # type: ignore[arg-type]
            answer = client.session.send(request, allow_redirects=False)
            if answer.status_code >= 500:
                broken.append((method, path, headers, answer.status_code, answer.text[:200]))
    assert broken == []
    assert [record.message for record in caplog.records if record.exc_info] == []
