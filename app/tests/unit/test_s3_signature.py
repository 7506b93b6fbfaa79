"""What signs requests to S3 the short way says the same as botocore."""

from __future__ import annotations

import datetime
from urllib.parse import quote

import pytest
from atoll.storage.s3.signature import UNSIGNED, Request, Signer
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 11, 21, 6, 30, tzinfo=datetime.UTC)
KEYS = Credentials("an access key", "a secret key")
LENT = Credentials("an access key", "another secret key", "a token that was lent")


def as_botocore(request: Request, keys: Credentials, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"https://{request.host}{request.path}" + (f"?{request.query}" if request.query else "")
    asked = AWSRequest(request.method, url, {"x-amz-content-sha256": request.payload_hash})
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: NOW)
    signer = S3SigV4Auth(keys, "s3", "eu-west-1")
    monkeypatch.setattr(signer, "payload", lambda _request: request.payload_hash)
    signer.add_auth(asked)
    return str(asked.headers["Authorization"])


@pytest.mark.parametrize("keys", [KEYS, LENT])
@pytest.mark.parametrize(
    "request_to_sign",
    [
        Request("GET", "store.example:7480", "/blobs/registry/sha256/ab/abcd", "", UNSIGNED),
        Request("PUT", "blobs.s3.eu-west-1.amazonaws.com", quote("/a b/ü~"), "", "ab" * 32),
        Request("PUT", "s", "/k", f"partNumber=7&uploadId={quote('2~+/=', safe='-_.~')}", UNSIGNED),
    ],
)
def test_a_signature_is_botocores(
    request_to_sign: Request, keys: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = as_botocore(request_to_sign, keys, monkeypatch)
    signer = Signer("eu-west-1")
    for _ in range(2):
        headers = signer.headers(request_to_sign, keys.get_frozen_credentials(), NOW)
        assert headers["authorization"] == expected
