"""The `_state` of an upload is accepted only if the registry signed it for that upload."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast
from urllib.parse import parse_qs, quote, urlsplit
from uuid import UUID

import falcon
import falcon.testing
from atoll.config import Bundle
from atoll.names import RepositoryName
from atoll.registry.upload_session import Upload
from atoll.web.external_url import ExternalUrls
from atoll.web.v2.uploads import UploadResponses
from hypothesis import strategies as st

from . import test_token
from .answers import assert_headers
from .fuzzing import fuzz
from .mutation import texts

NAME = RepositoryName("admin", "app")
IDS = [UUID(int=1), UUID(int=2)]
UPLOADS = [
    Upload(NAME, IDS[0], 0),
    Upload(NAME, IDS[0], 2**40, ("eustorage",)),
    Upload(NAME, IDS[1], 7),
    Upload(RepositoryName("other", "app"), IDS[0], 7),
]
_BUNDLE = SimpleNamespace(
    server_hostname="registry.test",
    external_tls_termination=False,
    preferred_url_scheme="http",
    trusted_proxies=[],
)
ANSWERS = UploadResponses(ExternalUrls(cast(Bundle, _BUNDLE)), b"k" * 32)


def _location(upload: Upload) -> str:
    resp = falcon.Response()
    ANSWERS.accepted(falcon.testing.create_req(), resp, str(upload.name), upload)
    assert_headers(resp)
    return str(resp.get_header("Location"))


STATES = {parse_qs(urlsplit(_location(upload)).query)["_state"][0]: upload for upload in UPLOADS}


def check(state: str) -> None:
    query = f"_state={quote(state, errors='replace')}"
    req = falcon.testing.create_req(query_string=query)
    for uuid in IDS:
        upload = ANSWERS.upload(req, NAME, uuid)
        # The encoding may differ, because several Base64 texts decode to the same signature.
        assert upload is None or upload in UPLOADS
        assert upload is None or (upload.name, upload.uuid) == (NAME, uuid)
        if state in STATES:
            expected = STATES[state]
            fits = (expected.name, expected.uuid) == (NAME, uuid)
            assert upload == (expected if fits else None)


def test_only_signed_states_are_accepted() -> None:
    fuzz(check, texts(st.sampled_from(sorted(STATES)) | test_token.FORGED))
