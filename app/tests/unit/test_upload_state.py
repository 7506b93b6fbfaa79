"""The signed state of an upload, which connects its requests."""

from __future__ import annotations

from uuid import uuid4

import falcon
import falcon.testing
import pytest
from atoll.config import Bundle
from atoll.names import Digest, RepositoryName
from atoll.registry.upload_session import Chunk, Upload
from atoll.storage.base import blob_key
from atoll.web.external_url import ExternalUrls
from atoll.web.v2.uploads import UploadResponses

from .valid_bundle import valid_bundle

DIGEST = Digest.of(b"content")
CHUNK = Chunk(blob_key(DIGEST), str(DIGEST), 7, "usstorage")
NAME = RepositoryName.parse("admin/app")


@pytest.fixture
def responses() -> UploadResponses:
    return UploadResponses(ExternalUrls(Bundle.model_validate(valid_bundle())), b"key" * 11)


def request(query: str) -> falcon.Request:
    environment = falcon.testing.create_environ(query_string=query)
    return falcon.Request(environment)


@pytest.mark.parametrize("chunk", [None, CHUNK])
def test_the_location_of_a_response_restores_the_upload(
    responses: UploadResponses, chunk: Chunk | None
) -> None:
    upload = Upload(NAME, uuid4(), 7, ("eustorage",), only_chunk=chunk)
    answer = falcon.Response()
    responses.accepted(request(""), answer, str(NAME), upload)
    _path, _, query = answer.get_header("Location").partition("?")
    assert responses.upload(request(query), NAME, upload.uuid) == upload


def test_a_changed_state_restores_nothing(responses: UploadResponses) -> None:
    upload = Upload(NAME, uuid4(), 7, only_chunk=CHUNK)
    answer = falcon.Response()
    responses.accepted(request(""), answer, str(NAME), upload)
    header, payload, signature = answer.get_header("Location").partition("?")[2].split(".")
    assert (
        responses.upload(request(f"{header}.{payload[:-2]}.{signature}"), NAME, upload.uuid) is None
    )
    assert responses.upload(request(f"{header}.{payload}.{signature}"), NAME, uuid4()) is None
