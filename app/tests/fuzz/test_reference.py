"""References of manifests: a tag, a digest, or a declared error."""

from __future__ import annotations

import re

from atoll.names import Digest, InvalidName, is_tag, parse_tag
from hypothesis import strategies as st

from .answers import assert_sent
from .fuzzing import fuzz
from .mutation import texts
from .names import DIGESTS

VALID = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True)


def check(text: str) -> None:
    try:
        tag = parse_tag(text)
    except InvalidName as error:
        assert not is_tag(text)
        assert_sent(error)
        return
    assert tag == text
    # The grammar of the distribution specification, and no tag is mistaken for a digest.
    assert re.match(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z", text)
    assert not Digest.is_digest(text)


def test_references() -> None:
    fuzz(check, texts(VALID | DIGESTS))
