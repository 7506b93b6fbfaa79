"""Any response of an upstream is used or refused with an UpstreamError."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock

from atoll.names import Digest, RepositoryName, is_tag
from atoll.outbound.destination import parse
from atoll.outbound.response import Response
from atoll.upstream.budget import Unlimited
from atoll.upstream.challenges import parse_challenges
from atoll.upstream.client import UpstreamClient
from atoll.upstream.credentials import Credentials
from atoll.upstream.errors import UpstreamError
from atoll.upstream.exchange import Exchanges
from atoll.upstream.links import next_page
from atoll.upstream.reference import UpstreamReference
from atoll.upstream.registry_requests import RegistryRequests
from hypothesis import strategies as st

from .fuzzing import assert_linear, fuzz
from .mutation import header_values, mutated_json, texts

HOST = "registry.example"
NAME = "team/app"
CONTENT = b"x" * 100
DIGEST = Digest.of(CONTENT)
IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"

_DESCRIPTOR = {"mediaType": IMAGE, "digest": str(DIGEST), "size": 100, "artifactType": "a/b"}
DOCUMENTS = st.sampled_from(
    [
        {"name": NAME, "tags": ["latest", "1.0"]},
        {"name": NAME, "tags": None},
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": [_DESCRIPTOR]},
        {"schemaVersion": 2, "mediaType": IMAGE, "config": _DESCRIPTOR, "layers": []},
        {"schemaVersion": 1, "fsLayers": []},
        {"token": "abc", "expires_in": 60},
        {"errors": [{"code": "NAME_UNKNOWN"}]},
    ]
)
CHALLENGES = st.sampled_from(
    [
        'Bearer realm="/token",service="x",scope="repository:team/app:pull"',
        f'Basic realm="a", Bearer realm="https://{HOST}/token"',
        'Basic realm="a"',
    ]
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": header_values(st.sampled_from([IMAGE, INDEX, "application/json"])),
        "Content-Encoding": header_values(st.sampled_from(["identity", "gzip"])),
        "Content-Range": header_values(st.sampled_from(["bytes 50-99/100", "bytes 10-19/*"])),
        "Docker-Content-Digest": header_values(st.just(str(DIGEST))),
        "Link": header_values(st.sampled_from(['</v2/x?last=1>; rel="next"', "<//b>; rel=next"])),
        "Retry-After": header_values(
            st.sampled_from(["120", "Wed, 21 Oct 2026 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59"])
        ),
        "WWW-Authenticate": header_values(CHALLENGES),
    },
)
STATUSES = st.sampled_from([200, 200, 200, 206, 401, 403, 404, 405, 416, 418, 429, 500, 503])
RESPONSES = st.lists(
    st.tuples(STATUSES, HEADERS, mutated_json(DOCUMENTS) | st.just(CONTENT) | st.just(b"")),
    min_size=1,
    max_size=4,
)
Responses = list[tuple[int, dict[str, str], bytes]]


class Session:
    """Sends prepared responses, the last of them repeatedly."""

    def __init__(self, responses: Responses) -> None:
        self._responses = responses
        self._count = 0

    @contextmanager
    def request(
        self, method: str, url: str, headers: Mapping[str, str], *, streaming: bool
    ) -> Iterator[Response]:
        del streaming
        assert all(character.isprintable() for value in headers.values() for character in value)
        status, given, body = self._responses[min(self._count, len(self._responses) - 1)]
        self._count += 1
        assert self._count < 10_100
        lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in given.items()]
        raw = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body
        received = http.client.HTTPResponse(_Socket(raw), method=method)  # type: ignore[arg-type]
        received.begin()
        yield Response(parse(url), Mock(limited=None), received)


class _Socket:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._content)


def _check_tags(one: UpstreamClient) -> None:
    assert all(is_tag(tag) for tag in one.tags().names)


def _check_manifest(one: UpstreamClient) -> None:
    manifest = one.manifest("latest")
    assert Digest.of(manifest.content, manifest.digest.algorithm) == manifest.digest
    assert isinstance(json.loads(manifest.content), dict)


def _check_referrers(one: UpstreamClient) -> None:
    for referrer in one.referrers(DIGEST):
        assert referrer.size >= 0


def _check_blob(one: UpstreamClient) -> None:
    assert b"".join(one.blob(DIGEST, len(CONTENT)).pieces()) == CONTENT


def _check_part(one: UpstreamClient) -> None:
    assert len(b"".join(one.blob_part(DIGEST, len(CONTENT), 10, 20).pieces())) == 10


OPERATIONS: list[Callable[[UpstreamClient], Any]] = [
    _check_tags,
    _check_manifest,
    _check_referrers,
    _check_blob,
    _check_part,
    lambda one: one.head("latest"),
    lambda one: one.ping(),
]


def test_any_response_is_used_or_refused() -> None:
    def check(responses: Responses, operation: Callable[[UpstreamClient], Any]) -> None:
        exchanges = Exchanges(Session(responses))  # type: ignore[arg-type]
        requests = RegistryRequests(HOST, exchanges, Credentials("user", "secret"), Unlimited())
        message = ""
        try:
            operation(UpstreamClient(requests, NAME))
        except UpstreamError as error:
            message = str(error)
        assert "secret" not in message
        assert len(message) < 1000

    fuzz(check, RESPONSES, st.sampled_from(OPERATIONS))


def test_any_reference_is_parsed_or_refused() -> None:
    def check(text: str) -> None:
        try:
            reference = UpstreamReference.parse(text)
        except UpstreamError:
            return
        assert RepositoryName.fits(reference.repository)
        assert parse(f"https://{reference.host}/v2/").host_header == reference.host.removesuffix(
            ":443"
        )
        assert UpstreamReference.parse(str(reference)) == reference

    valid = st.sampled_from(["quay.io/a/b", "docker.io/alpine", "[fd00::1]:5000/app", "a:1/b"])
    fuzz(check, texts(valid))


def test_headers_are_parsed_in_linear_time() -> None:
    for piece in ("<", "<a>;", "a ", 'a="', ",", " ", "a=b ", '\\"', ";rel=", "<a>; rel= "):

        def make(size: int, piece: str = piece) -> str:
            return piece * (size // len(piece))

        assert_linear(lambda text: next_page([text], f"https://{HOST}/"), make, 4000)
        assert_linear(lambda text: parse_challenges([text]), make, 4000)
