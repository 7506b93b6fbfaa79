"""Manifest references are tags, digests, or refused."""

from __future__ import annotations

import re

from atoll.names import Digest, InvalidName, is_tag, parse_tag
from hypothesis import strategies as st

from .answers import assert_sendable
from .fuzzing import fuzz
from .mutation import texts
from .names import DIGESTS

VALID = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True)


def check(text: str) -> None:
    try:
        tag = parse_tag(text)
    except InvalidName as error:
        assert not is_tag(text)
        assert_sendable(error)
        return
    assert tag == text
    # A tag follows the grammar of the distribution specification and is never a digest.
    assert re.match(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z", text)
    assert not Digest.is_digest(text)


def test_any_reference_is_a_tag_or_a_digest_or_refused() -> None:
    fuzz(check, texts(VALID | DIGESTS))
