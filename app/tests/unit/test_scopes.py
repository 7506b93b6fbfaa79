"""Scopes that clients request for a token."""

from __future__ import annotations

import pytest
from atoll.auth.scopes import SCOPES_MAXIMUM, InvalidScope, parse_scopes


def parsed(*texts: str) -> dict[str, set[str]]:
    scopes = parse_scopes(texts, "registry.example:5000")
    return {str(scope.repository): set(scope.actions) for scope in scopes}


def test_actions_are_parsed() -> None:
    assert parsed("repository:a/b:pull") == {"a/b": {"pull"}}
    assert parsed("repository:a/b:pull,push") == {"a/b": {"pull", "push"}}
    assert parsed("repository:a/b:push") == {"a/b": {"push"}}
    assert parsed("repository:a/b:*") == {"a/b": {"pull", "push", "delete"}}
    assert parsed("repository:a/b:dance") == {"a/b": set()}


def test_several_scopes_are_separated_by_parameters_or_white_space() -> None:
    both = {"a/b": {"pull"}, "c/d": {"pull"}}
    assert parsed("repository:a/b:pull", "repository:c/d:pull") == both
    assert parsed("repository:a/b:pull repository:c/d:pull") == both


def test_the_host_of_the_registry_is_removed() -> None:
    assert parsed("repository:registry.example:5000/a/b:pull") == {"a/b": {"pull"}}


def test_other_resource_types_are_ignored() -> None:
    assert parsed("registry:catalog:*") == {}


@pytest.mark.parametrize("text", ["repository", "repository:pull", ":", "repository:A/b:pull"])
def test_a_malformed_scope_is_refused(text: str) -> None:
    with pytest.raises(InvalidScope):
        parsed(text)


def test_a_request_with_too_many_scopes_is_refused() -> None:
    scopes = [f"repository:a/b{number}:pull" for number in range(SCOPES_MAXIMUM)]
    assert len(parsed(*scopes)) == SCOPES_MAXIMUM
    for texts in ([*scopes, "repository:a/c:pull"], [" ".join([*scopes, "registry:catalog:*"])]):
        with pytest.raises(InvalidScope, match="at most 100"):
            parsed(*texts)
