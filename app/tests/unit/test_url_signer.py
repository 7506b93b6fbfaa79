"""URLs that Atoll signs itself, compared with those that botocore signs."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock
from urllib.parse import quote

import pytest
from atoll.config.stores import S3StoreSettings, parse_store
from atoll.storage.s3.driver import S3ObjectStore
from atoll.storage.s3.url_signer import UrlSigner
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from .clock import Clock

KEYS = ReadOnlyCredentials("an access key", "a secret key", None)
MOMENT = datetime.datetime(2026, 2, 28, 23, 59, 59, tzinfo=datetime.UTC)


@contextmanager
def botocore_at(moment: datetime.datetime) -> Iterator[None]:
    """Let botocore sign at a moment."""
    naive = moment.replace(tzinfo=None)
    with mock.patch("botocore.auth.get_current_datetime", return_value=naive):
        yield


def signed_by_botocore(
    base_url: str, path: str, region: str, keys: ReadOnlyCredentials, seconds: int
) -> str:
    request = AWSRequest(method="GET", url=base_url + quote(path, safe="/~"))
    S3SigV4QueryAuth(keys, "s3", region, expires=seconds).add_auth(request)
    return str(request.url)


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1)
base_urls = st.sampled_from(
    [
        "https://bucket.s3.amazonaws.com/",
        "https://s3.example:443/bucket/",
        "http://s3.example:80/bucket/",
        "http://Store.Example:8000/some/path/bucket/",
        "https://10.1.2.3:9000/bucket/",
        "http://[2001:db8::1]:8000/bucket/",
        "http://[2001:db8::1]/bucket/",
    ]
)
tokens = st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126))
moments = st.datetimes(datetime.datetime(1990, 1, 1), datetime.datetime(2090, 1, 1))


@given(
    base_url=base_urls,
    path=texts,
    region=st.sampled_from(["us-east-1", "eu-central-1", "default"]),
    access_key=texts,
    secret_key=texts,
    token=tokens,
    seconds=st.integers(1, 604_800),
    moment=moments,
)
def test_a_url_is_the_one_that_botocore_signs(
    base_url: str,
    path: str,
    region: str,
    access_key: str,
    secret_key: str,
    token: str | None,
    seconds: int,
    moment: datetime.datetime,
) -> None:
    keys = ReadOnlyCredentials(access_key, secret_key, token)
    moment = moment.replace(tzinfo=datetime.UTC)
    signer = UrlSigner(base_url, region, lambda: keys, clock=moment.timestamp)
    with botocore_at(moment):
        expected = signed_by_botocore(base_url, path, region, keys, seconds)
    # Twice, because the key of the day is kept.
    assert [signer.sign(path, seconds) for _ in range(2)] == [expected, expected]


def test_a_signer_uses_the_current_day_and_credentials() -> None:
    keys, clock = [KEYS], Clock()
    base_url = "https://s3.example/bucket/"
    signer = UrlSigner(base_url, "us-east-1", lambda: keys[0], clock=clock)
    for seconds in (0, 1, 86_400):
        for now in (KEYS, ReadOnlyCredentials("another key", "another secret", "a token")):
            moment = MOMENT + datetime.timedelta(seconds=seconds)
            clock.now, keys[0] = moment.timestamp(), now
            with botocore_at(moment):
                expected = signed_by_botocore(base_url, "a", "us-east-1", now, 60)
            assert signer.sign("a", 60) == expected


def test_nothing_is_signed_without_credentials() -> None:
    assert UrlSigner("https://s3.example/bucket/", "us-east-1", lambda: None).sign("a", 60) is None


SIGNED = signed_by_botocore("https://s3.example/bucket/", "a key", "eu-central-1", KEYS, 60)


def test_a_signer_continues_for_the_bucket_and_region_of_a_url_of_botocore() -> None:
    signer = UrlSigner.like(SIGNED, "a key", lambda: KEYS)
    assert signer is not None
    with botocore_at(MOMENT), mock.patch.object(signer, "_clock", MOMENT.timestamp):
        expected = signed_by_botocore("https://s3.example/bucket/", "b", "eu-central-1", KEYS, 9)
        assert signer.sign("b", 9) == expected


@pytest.mark.parametrize(
    "url",
    [
        "https://s3.example/bucket/a%20key?AWSAccessKeyId=a&Signature=b&Expires=1",
        SIGNED.replace("/a%20key?", "/another?"),
        SIGNED.replace("%2Fs3%2F", "%2Fs3-object-lambda%2F"),
        SIGNED.replace("SignedHeaders=host", "SignedHeaders=host%3Brange"),
        SIGNED.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        SIGNED + "&versionId=1",
    ],
)
def test_a_signature_of_another_kind_is_left_to_botocore(url: str) -> None:
    assert UrlSigner.like(url, "a key", lambda: KEYS) is None


GATEWAY = {"hostname": "s3.example", "bucket_name": "blobs", "access_key": "a", "secret_key": "b"}
AMAZON = {"s3_bucket": "blobs", "s3_access_key": "a", "s3_secret_key": "b"}


@pytest.mark.parametrize(
    ("driver", "arguments"),
    [
        ("RadosGWStorage", {**GATEWAY, "is_secure": True}),
        ("RadosGWStorage", {**GATEWAY, "is_secure": False, "port": 8000}),
        ("RadosGWStorage", {**GATEWAY, "is_secure": False, "hostname": "[2001:db8::1]"}),
        ("S3Storage", AMAZON),
        ("S3Storage", {**AMAZON, "s3_region": "eu-central-1"}),
        ("S3Storage", {**AMAZON, "s3_bucket": "with.dots", "s3_region": "eu-central-1"}),
        ("S3Storage", {**AMAZON, "aws_session_token": "a token/with+signs="}),
        ("S3Storage", {**AMAZON, "host": "s3.example", "port": 9000}),
        ("S3Storage", {**AMAZON, "endpoint_url": "http://s3.example/below/a/path"}),
    ],
)
@pytest.mark.parametrize("storage_path", ["/datastorage/registry", "", "/with space/ü~+&"])
def test_every_kind_of_bucket_is_addressed_as_by_botocore(
    driver: str, arguments: dict[str, object], storage_path: str
) -> None:
    settings = parse_store([driver, {**arguments, "storage_path": storage_path}])
    assert isinstance(settings, S3StoreSettings)
    store = S3ObjectStore("us", settings)
    key = "sha256/ab/" + "ab" * 32
    with botocore_at(MOMENT):
        by_botocore = store.presigned_url(key, 600)
    assert store._url_signer is not None
    with (
        mock.patch.object(store._url_signer, "_clock", MOMENT.timestamp),
        mock.patch.object(store._client, "generate_presigned_url", pytest.fail),
    ):
        assert store.presigned_url(key, 600) == by_botocore


def test_a_store_with_another_signature_version_keeps_the_urls_of_botocore() -> None:
    arguments = {**AMAZON, "storage_path": "", "host": "s3.example", "signature_version": "s3"}
    settings = parse_store(["S3Storage", arguments])
    assert isinstance(settings, S3StoreSettings)
    store = S3ObjectStore("us", settings)
    for _ in range(2):
        assert "AWSAccessKeyId=" in store.presigned_url("a", 600)
