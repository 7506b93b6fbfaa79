"""Scopes are parsed to known actions on valid repository names, or refused."""

from __future__ import annotations

from contextlib import suppress

from atoll.auth.scopes import InvalidScope, parse_scopes
from hypothesis import strategies as st

from .answers import assert_sendable
from .fuzzing import assert_linear, fuzz
from .mutation import texts
from .names import REPOSITORY_NAMES

_ACTIONS = st.lists(st.sampled_from(["pull", "push", "delete", "*", "x"]), max_size=4)
_SCOPE = st.builds(
    "{}:{}{}:{}".format,
    st.sampled_from(["repository", "repository", "registry", "repository(plugin)"]),
    st.sampled_from(["", "registry.test/", "other.test:5000/"]),
    REPOSITORY_NAMES,
    _ACTIONS.map(",".join),
)
VALID = st.lists(_SCOPE, max_size=4).map(" ".join) | st.just("registry:catalog:*")


def check(scopes: list[str]) -> None:
    try:
        found = parse_scopes(scopes, "registry.test")
    except InvalidScope as error:
        assert_sendable(error)
        return
    assert len(found) <= len(" ".join(scopes).split())
    for scope in found:
        assert scope.actions <= {"pull", "push", "delete"}
        assert str(scope.repository).isascii()


def test_any_scope_is_parsed_or_refused() -> None:
    fuzz(check, st.lists(texts(VALID), max_size=3))


def test_many_scopes_are_parsed_in_linear_time() -> None:
    def parse(text: str) -> None:
        with suppress(InvalidScope):
            parse_scopes([text], "registry.test")

    for piece in ("repository:a/b:pull ", ":", "repository:", " "):
        assert_linear(parse, lambda size, piece=piece: piece * (size // len(piece)), 4000)
