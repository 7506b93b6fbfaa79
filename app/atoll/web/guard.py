"""Ask of each request, in one place, whether its token allows what it is about to do."""

from __future__ import annotations

import falcon

from atoll.auth.access import DELETE, PUSH
from atoll.auth.tokens import Identity, InvalidToken, Tokens
from atoll.config import Bundle
from atoll.names import RepositoryName
from atoll.web.authority import Authority
from atoll.web.errors import PushesDisabled, ReadOnly, Unauthorized

_BEARER = "bearer "


class Guard:
    """Reads bearer tokens and writes challenges (Docker registry token specification)."""

    def __init__(self, tokens: Tokens, authority: Authority, bundle: Bundle) -> None:
        self._tokens = tokens
        self._authority = authority
        self._read_only = bundle.read_only
        self._disable_pushes = bundle.disable_pushes

    def identity(self, req: falcon.Request, scope: str | None = None) -> Identity:
        """Return whom the request's token names, or raise Unauthorized asking for SCOPE."""
        header = req.get_header("Authorization") or ""
        if not header.lower().startswith(_BEARER):
            raise Unauthorized(self._challenge(req, scope))
        try:
            return self._tokens.read(header[len(_BEARER) :].strip())
        except InvalidToken as error:
            raise Unauthorized(self._challenge(req, scope, "invalid_token")) from error

    def require(self, req: falcon.Request, repository: RepositoryName, *actions: str) -> Identity:
        """Return the identity if its token allows ACTIONS on REPOSITORY, or raise Unauthorized.

        Raises ReadOnly or PushesDisabled where the bundle lets nobody write.
        """
        return self.check_token(req, repository, *actions)

    def check_token(
        self, req: falcon.Request, repository: RepositoryName, *actions: str
    ) -> Identity:
        """Check as much as the token and the bundle alone can prove, without I/O.

        Raises the same errors as `require`.
        """
        scope = f"repository:{repository}:{','.join(actions)}"
        identity = self.identity(req, scope)
        if not all(identity.may(action, repository) for action in actions):
            raise Unauthorized(self._challenge(req, scope, "insufficient_scope"))
        if self._read_only and {PUSH, DELETE} & set(actions):
            raise ReadOnly
        if self._disable_pushes and PUSH in actions:
            raise PushesDisabled
        return identity

    def _challenge(self, req: falcon.Request, scope: str | None, error: str | None = None) -> str:
        parts = [
            f'realm="{self._authority.url(req, "/v2/auth")}"',
            f'service="{self._tokens.audience}"',
        ]
        if scope:
            parts.append(f'scope="{scope}"')
        if error:
            parts.append(f'error="{error}"')
        return "Bearer " + ",".join(parts)
