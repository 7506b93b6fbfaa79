"""Digests survive a round trip, or are refused with InvalidDigest."""

from __future__ import annotations

import re
from contextlib import suppress

from atoll.names import Digest, InvalidDigest

from .answers import assert_sendable
from .fuzzing import assert_linear, fuzz
from .mutation import texts
from .names import DIGESTS


def check(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except InvalidDigest as error:
        assert_sendable(error)
        return
    assert str(digest) == text
    assert re.fullmatch(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", text)
    assert Digest.is_digest(text)


def test_any_digest_is_parsed_or_refused() -> None:
    fuzz(check, texts(DIGESTS))


def test_a_long_digest_is_parsed_in_linear_time() -> None:
    def parse(text: str) -> None:
        with suppress(InvalidDigest):
            Digest.parse(text)

    assert_linear(parse, lambda size: "a" * size + ":" + "f" * size + "x", 4000)
