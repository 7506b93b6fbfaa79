"""The `scope` of a token request: `repository:NAME:ACTION[,ACTION]`, several by white space.

Grammar: Docker registry token specification, "scope". A repository's name may carry the registry's
host in front, which is dropped. Only the named actions are granted: unlike with Quay, a token for
`push` does not delete. Clients that delete ask for `delete` or `*`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from atoll.auth.access import DELETE, PULL, PUSH
from atoll.names import InvalidName, RepositoryName

_ACTIONS = frozenset({PULL, PUSH, DELETE})
# Clients name the target of a push, and the source of each blob that they mount.
SCOPES_MAXIMUM = 100
# Not about one repository: to list all of them. For superusers.
CATALOG_SCOPE = "registry:catalog:*"


class InvalidScope(ValueError):
    """A scope that does not fit the grammar."""


@dataclass(frozen=True)
class Scope:
    """Actions that a client asks for on one repository."""

    repository: RepositoryName
    actions: frozenset[str]


def parse_scopes(texts: Iterable[str], hostname: str) -> list[Scope]:
    """Parse scopes. Resources that Atoll has no tokens for are left out.

    Raises:
        InvalidScope: a text is not a scope, names no possible repository, or there are too many.
    """
    scopes = []
    words = " ".join(texts).split()
    if len(words) > SCOPES_MAXIMUM:
        raise InvalidScope(
            f"the request has {len(words)} scopes; ask for at most {SCOPES_MAXIMUM} at once"
        )
    for text in words:
        kind, _, rest = text.partition(":")
        name, colon, actions = rest.rpartition(":")
        if not colon or not name:
            raise InvalidScope(f"'{text[:200]}' is not a scope; write repository:NAME:pull,push")
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
