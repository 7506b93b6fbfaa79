"""Claims of registry tokens, and compatibility with tokens of earlier versions."""

from __future__ import annotations

import time

import jwt
from atoll.auth.access import PULL, PUSH, Grant
from atoll.auth.tokens import Tokens
from atoll.names import RepositoryName
from hypothesis import given
from hypothesis import strategies as st

KEY = b"0" * 32
NAME = RepositoryName("acme", "app")


def tokens() -> Tokens:
    return Tokens(KEY, "registry.test")


def test_a_token_contains_the_ids_of_user_and_repositories() -> None:
    missing = RepositoryName("acme", "missing")
    grants = [Grant(NAME, frozenset({PULL}), id=7), Grant(missing, frozenset({PUSH}))]
    token, _ = tokens().issue("alice", grants, user_id=3)
    identity = tokens().read(token)
    assert (identity.username, identity.user_id) == ("alice", 3)
    assert identity.ids == {"acme/app": 7}
    assert identity.may(PUSH, missing)
    assert not identity.may(PUSH, NAME)
    assert not identity.catalog
    assert not identity.public_only


def test_entries_of_one_repository_are_merged_and_other_types_ignored() -> None:
    grants = [Grant(NAME, frozenset({action}), id=7) for action in (PULL, PUSH)]
    token, _ = tokens().issue("alice", grants, catalog=True)
    identity = tokens().read(token)
    assert identity.actions == {"acme/app": {PULL, PUSH}}
    assert identity.catalog


def test_a_token_of_an_earlier_version_has_no_repository_ids() -> None:
    now = int(time.time())
    claims = {
        "iss": "atoll",
        "aud": "registry.test",
        "sub": "alice",
        "iat": now,
        "exp": now + 60,
        "access": [{"type": "repository", "name": "acme/app", "actions": ["pull"]}],
    }
    identity = tokens().read(jwt.encode(claims, KEY, algorithm="HS256"))
    assert identity.may(PULL, NAME)
    assert (identity.ids, identity.user_id) == ({}, None)


@given(st.binary(min_size=32), st.text(), st.lists(st.text(), max_size=3))
def test_other_implementations_read_tokens(key: bytes, username: str, names: list[str]) -> None:
    grants = [Grant(RepositoryName("acme", name), frozenset({PULL}), id=7) for name in names]
    token, issued = Tokens(key, "registry.test").issue(username, grants)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    claims = jwt.decode(token, key, algorithms=["HS256"], audience="registry.test")
    assert (claims["sub"], claims["iat"]) == (username, issued)
    assert [entry["name"] for entry in claims["access"]] == [f"acme/{name}" for name in names]
