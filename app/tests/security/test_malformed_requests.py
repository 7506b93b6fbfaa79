"""Malformed requests are refused as errors of the client, without an internal error."""

from __future__ import annotations

import json

import pytest

from ..image.protocol import IMAGE_TYPE, Registry
from ..image.running import RunningImage

NOTIFICATION = {
    "event": "repo_push",
    "method": "webhook",
    "config": {"url": "https://receiver.example/"},
    "eventConfig": {},
}


@pytest.mark.parametrize("host", ["[:::]", "[1.2.3.4]"])
def test_an_invalid_forwarded_host_is_ignored(registry: Registry, host: str) -> None:
    digest = registry.push_blob(b"content")
    answer = registry.request(
        "GET",
        registry.path(f"blobs/{digest}"),
        headers={"X-Forwarded-Host": host},
        allow_redirects=False,
    )
    assert answer.status_code == 307


def test_a_manifest_with_unencodable_text_is_refused(registry: Registry) -> None:
    content = b'{"schemaVersion": 2, "mediaType": "\\ud800", "config": {}, "layers": []}'
    answer = registry.put_manifest("1", content)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "MANIFEST_INVALID"


def test_a_manifest_in_utf_16_is_refused(registry: Registry) -> None:
    image = registry.push_image()
    answer = registry.put_manifest("1", json.dumps(json.loads(image.content)).encode("utf-16"))
    assert answer.status_code == 400


def test_an_error_message_does_not_repeat_a_long_request(registry: Registry) -> None:
    document = {"schemaVersion": 2, "mediaType": "x" * 1_000_000}
    answer = registry.request(
        "PUT",
        registry.path("manifests/1"),
        data=json.dumps(document).encode(),
        headers={"Content-Type": IMAGE_TYPE},
    )
    assert answer.status_code == 400
    assert len(answer.content) < 4000


def test_credentials_with_a_zero_byte_are_refused(image: RunningImage) -> None:
    session = image.session()
    for username in ("$app", "admin"):
        answer = session.get(f"{image.url}/v2/auth", auth=(username, "se\0cret"))
        assert answer.status_code == 401
        form = {"username": username, "password": "se\0cret"}
        assert session.post(f"{image.url}/v2/auth", data=form).status_code == 400


@pytest.mark.parametrize(
    "value",
    ['"\\ud800"', "NaN", "1e999", '"\\u0000"'],
    ids=["surrogate", "nan", "huge", "zero-byte"],
)
def test_a_body_that_the_database_cannot_store_is_refused(
    image: RunningImage, registry: Registry, value: str
) -> None:
    registry.push_image("1")
    body = json.dumps(NOTIFICATION).replace('"eventConfig": {}', f'"eventConfig": {{"x": {value}}}')
    answer = image.session().post(
        f"{image.url}/api/v1/repository/{registry.name}/notification/",
        data=body,
        headers={"Content-Type": "application/json"},
        auth=(image.username, image.password),
    )
    assert answer.status_code == 400
