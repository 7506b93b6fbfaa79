"""The registry itself sends blobs where clients cannot or must not be redirected to a store."""

from __future__ import annotations

import email
import email.policy
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from atoll.names import Digest
from atoll.storage.base import blob_key

from .services import Services
from .site import Client, Site, running_site

REPOSITORY = "admin/app"
DATA = os.urandom(3_000_000)
SIZE = len(DATA)
SEVERAL = "bytes=0-9,1000-1999,2500000-2500000,-5"
PARTS = [
    (f"bytes 0-9/{SIZE}", DATA[:10]),
    (f"bytes 1000-1999/{SIZE}", DATA[1000:2000]),
    (f"bytes 2500000-2500000/{SIZE}", DATA[2_500_000:2_500_001]),
    (f"bytes {SIZE - 5}-{SIZE - 1}/{SIZE}", DATA[-5:]),
]


@pytest.fixture
def proxied(services: Services, database: str, tmp_path: Path) -> Iterator[Site]:
    changes: dict[str, object] = {"FEATURE_PROXY_STORAGE": True}
    preference = "usstorage eustorage"
    with running_site(services, database, tmp_path / "us", preference, changes) as site:
        yield site


def get(client: Client, digest: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    answer = client.request(
        "GET",
        f"/v2/{REPOSITORY}/blobs/{digest}",
        f"repository:{REPOSITORY}:pull",
        headers=headers,
    )
    return answer.status_code, answer.content, dict(answer.headers)


def parts(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """Return the Content-Range and the content of each part of a multipart response."""
    head = f"MIME-Version: 1.0\r\nContent-Type: {content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    assert message.get_content_type() == "multipart/byteranges"
    return [
        (part["Content-Range"], part.get_payload(decode=True))
        for part in message.iter_parts()  # type: ignore[attr-defined]
    ]


def test_with_proxy_storage_the_registry_sends_blobs_and_ranges(proxied: Site) -> None:
    client = Client(proxied)
    digest = client.push_blob(REPOSITORY, DATA)
    status, content, headers = get(client, digest)
    assert (status, content) == (200, DATA)
    assert headers["Docker-Content-Digest"] == digest
    status, content, headers = get(client, digest, Range="bytes=1000000-1999999")
    assert (status, content) == (206, DATA[1_000_000:2_000_000])
    assert headers["Content-Range"] == f"bytes 1000000-1999999/{len(DATA)}"


def test_clients_are_not_redirected_to_a_store_with_the_registrys_host_name(us: Site) -> None:
    """Clients would send the registry's token along, on any port."""
    client = Client(us)
    digest = client.push_blob(REPOSITORY, DATA)
    assert get(client, digest)[0] == 307
    port = us.url.rpartition(":")[2]
    status, content, _ = get(client, digest, Host=f"127.0.0.1:{port}")
    assert (status, content) == (200, DATA)


def test_a_blob_that_the_nearest_store_lacks_is_read_from_the_next(proxied: Site, eu: Site) -> None:
    client = Client(proxied)
    digest = client.push_blob(REPOSITORY, DATA)
    eu.copy_all()
    nearest, key = proxied.locations.stores["usstorage"], blob_key(Digest.parse(digest))
    nearest.put(key, DATA[:1_000_000], 1_000_000)
    assert get(client, digest)[:2] == (200, DATA)
    nearest.delete(key)
    status, content, _ = get(client, digest, Range="bytes=1000000-1999999")
    assert (status, content) == (206, DATA[1_000_000:2_000_000])


def test_the_registry_answers_several_ranges_with_one_multipart_response(us: Site) -> None:
    """Stores answer with the first range only."""
    client = Client(us)
    digest = client.push_blob(REPOSITORY, DATA)
    assert get(client, digest, Range="bytes=0-9")[0] == 307
    status, content, headers = get(client, digest, Range=SEVERAL)
    assert status == 206
    assert headers["Content-Length"] == str(len(content))
    assert headers["Etag"] == f'"{digest}"'
    assert "Content-Range" not in headers
    assert parts(headers["Content-Type"], content) == PARTS


def test_one_satisfiable_range_of_several_is_answered_as_one_range(us: Site) -> None:
    client = Client(us)
    digest = client.push_blob(REPOSITORY, DATA)
    status, content, headers = get(client, digest, Range=f"bytes=5-9,{SIZE}-")
    assert (status, content) == (206, DATA[5:10])
    assert headers["Content-Range"] == f"bytes 5-9/{SIZE}"


def test_several_ranges_are_ignored_if_if_range_does_not_match(us: Site) -> None:
    client = Client(us)
    digest = client.push_blob(REPOSITORY, DATA)
    assert get(client, digest, Range=SEVERAL, **{"If-Range": f'"{digest}"'})[0] == 206
    assert get(client, digest, Range=SEVERAL, **{"If-Range": '"other"'})[0] == 307


def test_unsatisfiable_or_excessive_ranges_are_refused(us: Site) -> None:
    client = Client(us)
    digest = client.push_blob(REPOSITORY, DATA)
    status, _, headers = get(client, digest, Range=f"bytes={SIZE}-,{SIZE + 5}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    for ranges in ("0-,0-", ",".join(["0-0"] * 1025)):
        status, content, _ = get(client, digest, Range=f"bytes={ranges}")
        assert status == 400
        assert b"UNSUPPORTED" in content


def test_several_ranges_are_read_from_the_next_store_if_the_nearest_fails(
    us: Site, eu: Site
) -> None:
    client = Client(us)
    digest = client.push_blob(REPOSITORY, DATA)
    eu.copy_all()
    nearest, key = us.locations.stores["usstorage"], blob_key(Digest.parse(digest))
    # The second read fails after its first bytes, later ones fail before them.
    nearest.put(key, DATA[:1_000_000], 1_000_000)
    for _ in range(2):
        status, content, headers = get(client, digest, Range=SEVERAL)
        assert status == 206
        assert parts(headers["Content-Type"], content) == PARTS
        nearest.delete(key)


def test_several_ranges_are_refused_while_no_store_has_the_blob(us: Site) -> None:
    client = Client(us)
    digest = client.push_blob(REPOSITORY, DATA)
    us.locations.stores["usstorage"].delete(blob_key(Digest.parse(digest)))
    status, content, headers = get(client, digest, Range=SEVERAL)
    assert status == 503
    assert headers["Content-Type"] == "application/json"
    assert b"UNAVAILABLE" in content
