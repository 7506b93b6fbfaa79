"""App-specific tokens have the push permission of their owner."""

from __future__ import annotations

from atoll.auth import users
from atoll.auth.api_tokens import AppTokens
from atoll.auth.credentials import Credentials
from atoll.names import RepositoryName

from .sites import MemoryRegistry


def test_an_app_token_creates_a_repository_in_its_owners_namespace(
    registry: MemoryRegistry,
) -> None:
    graph = registry["us"].graph
    user = users.create_user(graph.database, "bob", None, "a password")
    token = AppTokens(graph.database, graph.cipher, graph.bundle).create(user, "laptop")
    new = [RepositoryName("bob", "new"), RepositoryName("admin", "new")]
    _, (own, foreign) = graph.access.authenticate(Credentials("$app", token.code), "192.0.2.1", new)
    assert own.actions >= {"pull", "push"}
    assert not foreign.actions
