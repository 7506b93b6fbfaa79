"""Parser for the `scope` parameter of token requests: `repository:NAME:ACTION[,ACTION]...`.

Grammar: Docker registry token specification, "scope"; several scopes are separated by white space.
The registry's host name in front of the repository is ignored. Only the named actions are granted:
unlike in Quay, a token for `push` does not permit deletion, which clients request as `delete` or
`*`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from atoll.auth.access import DELETE, PULL, PUSH
from atoll.names import InvalidName, RepositoryName

_ACTIONS = frozenset({PULL, PUSH, DELETE})
# A push needs one scope for its target and one for each repository that it mounts blobs from.
SCOPES_MAXIMUM = 100
# Permits superusers to list all repositories.
CATALOG_SCOPE = "registry:catalog:*"


class InvalidScope(ValueError):
    """A scope does not match the grammar, or there are too many."""


@dataclass(frozen=True)
class Scope:
    """The actions that a client requests on one repository."""

    repository: RepositoryName
    actions: frozenset[str]


def parse_scopes(texts: Iterable[str], hostname: str) -> list[Scope]:
    """Parse scopes, without those of resource types that Atoll does not issue tokens for.

    Args:
        texts: The values of the parameter.
        hostname: The registry's host name.

    Raises:
        InvalidScope: A scope is malformed, its repository's name is not valid, or there are more
            than SCOPES_MAXIMUM.
    """
    scopes = []
    words = " ".join(texts).split()
    if len(words) > SCOPES_MAXIMUM:
        raise InvalidScope(
            f"the request has {len(words)} scopes; request at most {SCOPES_MAXIMUM} at once"
        )
    for text in words:
        kind, _, rest = text.partition(":")
        name, colon, actions = rest.rpartition(":")
        if not colon or not name:
            raise InvalidScope(
                f"'{text[:200]}' is not a valid scope; use the form repository:NAME:pull,push"
            )
        if kind != "repository":
            continue
        try:
            repository = RepositoryName.parse(name.removeprefix(f"{hostname}/"))
        except InvalidName as error:
            raise InvalidScope(str(error)) from error
        wanted = frozenset(action for action in actions.split(",") if action)
        if "*" in wanted:
            wanted = _ACTIONS
        scopes.append(Scope(repository, wanted & _ACTIONS))
    return scopes
