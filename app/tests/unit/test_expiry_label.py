"""The expiry label is read from the image configuration; anything else is ignored."""

from __future__ import annotations

import io
import json

import pytest
from atoll.registry.expiry_label import expires_after


def configuration(value: object) -> bytes:
    return json.dumps({"config": {"Labels": {"quay.expires-after": value}}}).encode()


@pytest.mark.parametrize(
    ("value", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400), ("3w", 1814400)]
)
def test_a_duration_is_parsed(value: str, seconds: int) -> None:
    content = configuration(value)
    assert expires_after(io.BytesIO(content), len(content)) == seconds


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"quay.expires-after",
        b'{"quay.expires-after": "1d"}',
        b'{"config": null, "x": "quay.expires-after"}',
        b'{"config": {"Labels": ["quay.expires-after"]}}',
        b'{"quay.expires-after":' + b"[" * 100_000,
        configuration("soon"),
        configuration(""),
        configuration("0s"),
        configuration("99999999999999999999w"),
        configuration(7),
        configuration(None),
        configuration("1d") + b" " * 2**20,
    ],
    ids=range(13),
)
def test_a_configuration_without_a_valid_label_has_no_expiry(content: bytes) -> None:
    assert expires_after(io.BytesIO(content), len(content)) is None
