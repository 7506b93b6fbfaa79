"""Hashes that another process continues."""

from __future__ import annotations

import hashlib

import pytest
from atoll.mirroring.copying import resumable_hash
from atoll.mirroring.copying.resumable_hash import ResumableHash, is_usable
from atoll.names import Digest
from hypothesis import given
from hypothesis import strategies as st

ALGORITHMS = st.sampled_from(["sha256", "sha512"])


@given(ALGORITHMS, st.lists(st.binary(max_size=300), max_size=8))
def test_a_continued_hash_is_that_of_all_bytes(algorithm: str, pieces: list[bytes]) -> None:
    digest = Digest.of(b"".join(pieces), algorithm)
    state = None
    for piece in pieces:
        hasher = ResumableHash(digest, state)
        hasher.update(piece)
        state = hasher.state()
        assert is_usable(state, digest)
    assert ResumableHash(digest, state).hexdigest() == digest.hex


@given(ALGORITHMS, st.binary(min_size=1, max_size=500))
def test_views_and_repeated_results_are_supported(algorithm: str, content: bytes) -> None:
    digest = Digest.of(content, algorithm)
    hasher = ResumableHash(digest)
    buffer = bytearray(content)
    with memoryview(buffer) as view:
        hasher.update(view)
    assert hasher.hexdigest() == hasher.hexdigest() == digest.hex
    buffer += b"the buffer is not locked"


@pytest.mark.parametrize("state", [None, b"", b"other:" + b"x" * 112, b"little:" + b"x" * 3])
def test_other_states_are_not_usable(state: bytes | None) -> None:
    assert not is_usable(state, Digest.of(b""))


def test_without_the_library_hashes_are_right_and_start_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resumable_hash, "_library", lambda: None)
    digest = Digest.of(b"content")
    hasher = ResumableHash(digest)
    hasher.update(b"content")
    assert hasher.hexdigest() == hashlib.sha256(b"content").hexdigest()
    assert hasher.state() is None
