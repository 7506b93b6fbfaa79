"""Authorize requests of `/v2` by their bearer tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import falcon

from atoll.auth.access import DELETE, PULL, PUSH, Access
from atoll.auth.tokens import Identity, InvalidToken, Tokens
from atoll.config import Bundle
from atoll.names import NO_REPOSITORY, RepositoryName
from atoll.registry.errors import RepositoryReplaced
from atoll.web.errors import PushesDisabled, ReadOnly, Unauthorized
from atoll.web.external_url import ExternalUrls

_BEARER = "bearer "


# Sets of actions. One of them suffices.
Alternatives = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Authorized:
    """An authorized request: its identity, and the repository's name, bound to one repository."""

    identity: Identity
    repository: RepositoryName


class TokenAuth:
    """Check a request against its token and the bundle alone, without I/O.

    Challenges follow the Docker registry token specification.
    """

    def __init__(self, tokens: Tokens, external_urls: ExternalUrls, bundle: Bundle) -> None:
        self._tokens = tokens
        self._external_urls = external_urls
        self._read_only = bundle.read_only
        self._disable_pushes = bundle.disable_pushes

    def identity(self, req: falcon.Request, scope: str | None = None) -> Identity:
        """Return the identity in the request's token.

        Args:
            req: the request.
            scope: the scope that the challenge requests.

        Raises:
            Unauthorized: there is no valid token.
        """
        header = req.get_header("Authorization") or ""
        if not header.lower().startswith(_BEARER):
            raise Unauthorized(self._challenge(req, scope))
        try:
            return self._tokens.read(header[len(_BEARER) :].strip())
        except InvalidToken as error:
            raise Unauthorized(self._challenge(req, scope, "invalid_token")) from error

    def check_push(self, req: falcon.Request, repository: RepositoryName) -> Identity:
        """Check that the token names `push`, before the body is received.

        Everything else is checked by the resource. Raises the same errors as `BearerAuth.require`.
        """
        return self._check(req, repository, ((PUSH,),), (PULL, PUSH))

    def _check(
        self,
        req: falcon.Request,
        repository: RepositoryName,
        alternatives: Alternatives,
        requested: tuple[str, ...],
    ) -> Identity:
        """Check that the token names one of the alternatives, without resolving the repository.

        Args:
            req: the request.
            repository: the repository in the path.
            alternatives: sets of actions, one of which suffices.
            requested: the actions that the challenge requests.

        Raises:
            Unauthorized: the token names none of the alternatives.
            ReadOnly: the bundle allows no changes.
            PushesDisabled: the bundle allows no pushes.
        """
        scope = _scope(repository, requested)
        identity = self.identity(req, scope)
        if not any(_names(identity, repository, actions) for actions in alternatives):
            raise Unauthorized(self._challenge(req, scope, "insufficient_scope"))
        if self._read_only and {PUSH, DELETE} & set(requested):
            raise ReadOnly
        if self._disable_pushes and PUSH in requested:
            raise PushesDisabled
        return identity

    def _challenge(self, req: falcon.Request, scope: str | None, error: str | None = None) -> str:
        parts = [
            f'realm="{self._external_urls.url(req, "/v2/auth")}"',
            f'service="{self._tokens.audience}"',
        ]
        if scope:
            parts.append(f'scope="{scope}"')
        if error:
            parts.append(f'error="{error}"')
        return "Bearer " + ",".join(parts)


class BearerAuth(TokenAuth):
    """Authorize requests by token, and resolve the repository in the path."""

    def __init__(
        self, tokens: Tokens, access: Access, external_urls: ExternalUrls, bundle: Bundle
    ) -> None:
        super().__init__(tokens, external_urls, bundle)
        self._access = access

    def require(self, req: falcon.Request, repository: RepositoryName, *actions: str) -> Authorized:
        """Authorize actions on a repository.

        A token for a repository that did not exist when it was issued costs one round trip.

        Raises:
            Unauthorized: the token does not allow it.
            ReadOnly: the bundle allows no changes.
            PushesDisabled: the bundle allows no pushes.
        """
        return self._authorize(req, repository, (actions,), actions)

    def require_push(self, req: falcon.Request, repository: RepositoryName) -> Authorized:
        """Authorize a request that changes a repository, as `require` does.

        A token for `push` alone suffices. The challenge also requests `pull`, as Docker's registry
        does, because clients reuse the token for all requests of a push.
        """
        return self._authorize(req, repository, ((PUSH,),), (PULL, PUSH))

    def require_head(self, req: falcon.Request, repository: RepositoryName) -> Authorized:
        """Authorize an existence check, which both pulls and pushes perform.

        A token for `push` suffices: the response contains no content, and a push of the same blob
        or index would disclose its existence anyway.
        """
        return self._authorize(req, repository, ((PULL,), (PUSH,)), (PULL,))

    def _authorize(
        self,
        req: falcon.Request,
        repository: RepositoryName,
        alternatives: Alternatives,
        requested: tuple[str, ...],
    ) -> Authorized:
        """Check the token as `_check` does, and bind the name to the token's repository."""
        identity = self._check(req, repository, alternatives, requested)
        for actions in alternatives:
            bound = self._bound(identity, repository, actions)
            if bound is not None:
                return Authorized(identity, bound)
        scope = _scope(repository, requested)
        raise Unauthorized(self._challenge(req, scope, "insufficient_scope"))

    def source(self, identity: Identity, repository: RepositoryName) -> RepositoryName | None:
        """Return the bound name of a repository that the token may pull from, or None."""
        return self._bound(identity, repository, (PULL,))

    @contextmanager
    def challenge_if_replaced(
        self, req: falcon.Request, repository: RepositoryName
    ) -> Iterator[None]:
        """Answer 401 if the token's repository was replaced, so that a push gets a new token."""
        try:
            yield
        except RepositoryReplaced as error:
            scope = _scope(repository, (PULL, PUSH))
            raise Unauthorized(self._challenge(req, scope, "invalid_token")) from error

    def _bound(
        self, identity: Identity, repository: RepositoryName, actions: tuple[str, ...]
    ) -> RepositoryName | None:
        """Return the bound name of a repository if the token permits the actions, or None."""
        if not _names(identity, repository, actions):
            return None
        repository_id = identity.ids.get(str(repository))
        if repository_id is not None:
            return repository.bound(repository_id)
        # The repository did not exist when the token was issued, or an earlier version issued it.
        grant = self._access.grants(identity.username, [repository], user_id=identity.user_id)[0]
        if not grant.actions.issuperset(actions):
            return None
        return repository.bound(NO_REPOSITORY if grant.id is None else grant.id)


def _scope(repository: RepositoryName, actions: tuple[str, ...]) -> str:
    return f"repository:{repository}:{','.join(actions)}"


def _names(identity: Identity, repository: RepositoryName, actions: tuple[str, ...]) -> bool:
    return all(identity.may(action, repository) for action in actions)
