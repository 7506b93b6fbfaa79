"""A state machine: users create, delete and rename repositories, and use old tokens.

Each repository holds its own secret blob. A token may read and write only in the repository that it
was issued for. A token that is older than every repository of its name may be used for one that its
user has permission for now.
"""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass
from typing import ClassVar

import jwt
from atoll.audit.log import Entry
from atoll.auth.access import PULL, PUSH
from atoll.auth.users import create_organization
from atoll.names import Digest, RepositoryName
from atoll.registry.namespace_deletion import NamespaceDeletion
from falcon import testing
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from .sites import MANIFEST_TYPE, MemorySite, image_manifest

USERS = ("alice", "bob", "mallory")
NAMESPACES = ("one", "two")
_SCOPE = "pull,push,delete"

users = st.sampled_from(USERS)
namespaces = st.sampled_from(NAMESPACES)
numbers = st.integers(min_value=0, max_value=20)


@dataclass(frozen=True)
class Token:
    """A token, and the repository that had its name when it was issued."""

    text: str
    user: str
    name: RepositoryName
    repository_id: int | None


class TokenBinding(RuleBasedStateMachine):
    """Any sequence of these rules. The test sets `site` and `client`."""

    site: ClassVar[MemorySite]
    client: ClassVar[testing.TestClient]
    examples: ClassVar[itertools.count[int]] = itertools.count()
    # The number of accepted requests, which proves that the rules exercise the registry.
    reads: ClassVar[int] = 0
    writes: ClassVar[int] = 0

    @initialize()
    def begin(self) -> None:
        """Create new namespaces, one of which has a repository."""
        self.example = next(self.examples)
        self.content = itertools.count()
        self.tokens: list[Token] = []
        self.secrets: dict[int, bytes] = {}
        self.removal = NamespaceDeletion(self.site.database, self.site.graph.redis)
        self.create(USERS[0], NAMESPACES[0])
        for namespace in NAMESPACES:
            self.ask_for_token(USERS[0], namespace)

    def name_of(self, namespace: str) -> RepositoryName:
        return RepositoryName(f"{namespace}{self.example}", "app")

    def repository_id(self, name: RepositoryName) -> int | None:
        rows = self.site.database.read(
            'SELECT r.id FROM repository r JOIN "user" n ON n.id = r.namespace_user_id'
            " WHERE n.username = %s AND r.name = %s",
            [name.namespace, name.name],
        )
        return rows[0][0] if rows else None

    def may(self, user: str, action: str, name: RepositoryName) -> bool:
        return action in self.site.graph.access.grants(user, [name])[0].actions

    @rule(user=users, namespace=namespaces)
    def ask_for_token(self, user: str, namespace: str) -> None:
        name = self.name_of(namespace)
        pair = base64.b64encode(f"{user}:any password".encode()).decode()
        answer = self.client.simulate_get(
            "/v2/auth",
            params={"scope": f"repository:{name}:{_SCOPE}"},
            headers={"Authorization": f"Basic {pair}"},
        )
        assert answer.status_code == 200
        text = answer.json["token"]
        self.tokens.append(Token(text, user, name, self.repository_id(name)))
        claims = jwt.decode(text, options={"verify_signature": False})
        allowed = {action for entry in claims["access"] for action in entry["actions"]}
        assert (PUSH in allowed) == self.may(user, PUSH, name)

    @rule(user=users, namespace=namespaces)
    def create(self, user: str, namespace: str) -> None:
        name = self.name_of(namespace)
        create_organization(self.site.database, name.namespace, user)
        if self.repository_id(name) is None and self.may(user, PUSH, name):
            self.site.graph.repositories.create(name, "private", user)
            self.keep_secret(user, name)

    @rule(namespace=namespaces)
    def delete_repository(self, namespace: str) -> None:
        name = self.name_of(namespace)
        if self.repository_id(name) is not None:
            entry = Entry("delete_repo", name.namespace, name.name, None, None, {})
            self.removal.delete_repository(name, entry)

    @rule(namespace=namespaces)
    def delete_namespace(self, namespace: str) -> None:
        name = self.name_of(namespace).namespace
        if self.site.database.read('SELECT 1 FROM "user" WHERE username = %s', [name]):
            entry = Entry("org_delete", name, None, None, None, {})
            self.removal.delete_namespace(name, entry, organization=True)

    @rule(namespace=namespaces)
    def rename(self, namespace: str) -> None:
        """Rename a namespace to the name of the other one if it is free."""
        name = self.name_of(namespace).namespace
        new_name = self.name_of(NAMESPACES[1 - NAMESPACES.index(namespace)]).namespace
        taken = self.site.database.read(
            'SELECT username FROM "user" WHERE username IN (%s, %s)', [name, new_name]
        )
        if [row[0] for row in taken] == [name]:
            self.removal.rename_namespace(name, new_name, organization=True)

    @rule(number=numbers)
    def read(self, number: int) -> None:
        """Read every secret with one of the tokens, twice: from the database and from the cache."""
        for token in self.chosen(number):
            for repository_id, secret in [*self.secrets.items()] * 2:
                manifest = image_manifest(secret, [])
                for path in (f"blobs/{Digest.of(secret)}", f"manifests/{Digest.of(manifest)}"):
                    if self.request(token, "HEAD", path).status_code == 200:
                        assert self.allowed(token, repository_id, PULL)
                        TokenBinding.reads += 1
            answer = self.request(token, "GET", "manifests/latest")
            if answer.status_code == 200:
                assert self.allowed(token, self.repository_id(token.name), PULL)

    @rule(number=numbers)
    def write(self, number: int) -> None:
        """Push a blob and a tag with one of the tokens."""
        for token in self.chosen(number):
            before = self.repository_id(token.name)
            could = self.may(token.user, PUSH, token.name)
            data = self.new_content()
            if not self.push(token, data):
                continue
            after = self.repository_id(token.name)
            assert after is not None
            if token.repository_id is not None:
                assert token.repository_id == before == after
            else:
                assert could
                assert before in {None, after}
            TokenBinding.writes += 1
            if before is None:
                self.keep_secret(token.user, token.name)

    def chosen(self, number: int) -> list[Token]:
        """Return one of the tokens, or None if none was issued yet."""
        return [self.tokens[number % len(self.tokens)]] if self.tokens else []

    def allowed(self, token: Token, repository_id: int | None, action: str) -> bool:
        if token.repository_id is not None:
            return token.repository_id == repository_id
        current = self.repository_id(token.name) == repository_id
        return current and self.may(token.user, action, token.name)

    def new_content(self) -> bytes:
        return f"{self.example} {next(self.content)}".encode()

    def keep_secret(self, user: str, name: RepositoryName) -> None:
        """Push an image to a new repository."""
        secret = self.new_content()
        repository_id = self.repository_id(name)
        assert repository_id is not None
        self.ask_for_token(user, name.namespace.removesuffix(str(self.example)))
        token = self.tokens.pop()
        assert self.push(token, secret)
        self.secrets[repository_id] = secret

    def push(self, token: Token, data: bytes) -> bool:
        """Push an image of one blob; return whether anything of it was accepted."""
        answer = self.request(token, "POST", "blobs/uploads/")
        accepted = answer.status_code == 202
        if accepted:
            query = f"&digest={Digest.of(data)}"
            path = answer.headers["Location"].partition(f"/v2/{token.name}/")[2] + query
            assert self.request(token, "PUT", path, body=data).status_code == 201
        manifest = image_manifest(data, [])
        headers = {"Content-Type": MANIFEST_TYPE}
        answer = self.request(token, "PUT", "manifests/latest", body=manifest, headers=headers)
        assert (answer.status_code == 201) == accepted
        return accepted

    def request(self, token: Token, method: str, path: str, **arguments: object) -> testing.Result:
        headers = dict(arguments.pop("headers", {}))  # type: ignore[call-overload]
        headers["Authorization"] = f"Bearer {token.text}"
        path, _, query = path.partition("?")
        return self.client.simulate_request(
            method,
            f"/v2/{token.name}/{path}",
            query_string=query,
            headers=headers,
            **arguments,  # type: ignore[arg-type]
        )
