"""Verified tokens that a process remembers: time, keys and forgeries are checked at each use."""

from __future__ import annotations

import time

import jwt
import pytest
from atoll.auth import tokens as module
from atoll.auth.access import PULL, Grant
from atoll.auth.tokens import LIFE_SECONDS, InvalidToken, Tokens
from atoll.names import RepositoryName
from hypothesis import given
from hypothesis import strategies as st

from .clock import Clock

KEY, OTHER_KEY = b"0" * 32, b"1" * 32
AUDIENCE = "registry.test"
GRANTS = [Grant(RepositoryName("acme", "app"), frozenset({PULL}), id=7)]
LEEWAY = 30


@pytest.fixture
def clock() -> Clock:
    return Clock(time.time())


def test_a_remembered_token_is_not_verified_again(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens(KEY, AUDIENCE, clock=clock)
    token, _ = tokens.issue("alice", GRANTS)
    first = tokens.read(token)
    monkeypatch.setattr(jwt, "decode", pytest.fail)
    assert tokens.read(token) == first


@given(st.floats(-2 * LIFE_SECONDS, 2 * LIFE_SECONDS))
def test_a_remembered_token_is_valid_at_the_same_times_as_a_new_one(offset: float) -> None:
    clock = Clock(time.time())
    tokens = Tokens(KEY, AUDIENCE, clock=clock)
    token, issued = tokens.issue("alice", GRANTS)
    tokens.read(token)
    clock.now = issued + offset
    if -LEEWAY <= offset < LIFE_SECONDS + LEEWAY:
        assert tokens.read(token).username == "alice"
    else:
        with pytest.raises(InvalidToken):
            tokens.read(token)


def test_an_expired_token_stays_refused_when_it_is_sent_again(clock: Clock) -> None:
    tokens = Tokens(KEY, AUDIENCE, clock=clock)
    token, _ = tokens.issue("alice", GRANTS)
    tokens.read(token)
    clock.now += LIFE_SECONDS + LEEWAY
    for _ in range(2):
        with pytest.raises(InvalidToken):
            tokens.read(token)


def test_another_signing_key_does_not_accept_tokens_that_were_remembered_before() -> None:
    token, _ = (old := Tokens(KEY, AUDIENCE)).issue("alice", GRANTS)
    old.read(token)
    with pytest.raises(InvalidToken):
        Tokens(OTHER_KEY, AUDIENCE).read(token)


@given(st.data())
def test_a_token_with_a_changed_character_is_refused(data: st.DataObject) -> None:
    tokens = Tokens(KEY, AUDIENCE)
    token, _ = tokens.issue("alice", GRANTS)
    tokens.read(token)
    # The last character has unused bits.
    position = data.draw(st.integers(0, len(token) - 2))
    other = data.draw(st.sampled_from("Ab0-_.").filter(lambda one: one != token[position]))
    with pytest.raises(InvalidToken):
        tokens.read(token[:position] + other + token[position + 1 :])


def test_refused_and_very_long_tokens_are_not_remembered() -> None:
    tokens = Tokens(KEY, AUDIENCE)
    for _ in range(2):
        with pytest.raises(InvalidToken):
            tokens.read("no token")
    names = [RepositoryName("acme", f"app{number}") for number in range(100)]
    token, _ = tokens.issue("alice", [Grant(name, frozenset({PULL}), id=7) for name in names])
    assert tokens.read(token).may(PULL, names[99])
    assert len(tokens._verified) == 0


def test_the_number_of_remembered_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED_MAXIMUM", 3)
    tokens = Tokens(KEY, AUDIENCE)
    for _ in range(5):
        tokens.read(tokens.issue("alice", GRANTS)[0])
    assert len(tokens._verified) == 3
