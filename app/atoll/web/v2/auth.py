"""`/v2/auth`: the token service, with or without credentials.

Clients send GET with HTTP Basic, or POST with a form (OAuth2, grant type "password"). The response
follows the Docker registry token specification. It contains `expires_in` and `issued_at`, without
which clients request a new token each minute.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import falcon

from atoll.auth.access import Access, Grant, WrongCredentials
from atoll.auth.credentials import Credentials
from atoll.auth.scopes import CATALOG_SCOPE, Scope, parse_scopes
from atoll.auth.tokens import LIFE_SECONDS, Tokens
from atoll.web.basic_auth import basic_credentials
from atoll.web.client_address import client_address
from atoll.web.v2.token_form import read_form


class TokenResource:
    """Issue tokens, with one round trip to the database."""

    def __init__(self, access: Access, tokens: Tokens) -> None:
        self._access = access
        self._tokens = tokens

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Issue a token for the actions in the scopes that the user is permitted."""
        scopes = req.get_param_as_list("scope") or []
        self._issue(req, resp, basic_credentials(req), scopes)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Issue a token as GET does, with `username` and `password` from the form or the header."""
        form = read_form(req)
        credentials = basic_credentials(req)
        if credentials is None and "username" in form:
            credentials = Credentials(form["username"], form.get("password", ""))
        self._issue(req, resp, credentials, [form.get("scope", "")])

    def _issue(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        credentials: Credentials | None,
        scope_texts: Iterable[str],
    ) -> None:
        if credentials is None and not self._access.anonymous:
            raise WrongCredentials("authentication is required; log in first")
        texts = list(scope_texts)
        scopes = parse_scopes(texts, self._tokens.audience)
        principal, grants = self._access.authenticate(
            credentials, client_address(req), [scope.repository for scope in scopes]
        )
        held = {grant.repository: grant for grant in grants}
        token, issued = self._tokens.issue(
            principal.username if principal else None,
            [_granted(scope, held[scope.repository]) for scope in scopes],
            user_id=principal.id if principal else None,
            public_only=principal is not None and not principal.can_read_private,
            catalog=bool(
                principal
                and principal.can_read_private
                and (principal.superuser or principal.auditor)
                and CATALOG_SCOPE in " ".join(texts).split()
            ),
        )
        resp.set_header("Cache-Control", "no-store")
        resp.media = {
            "token": token,
            "access_token": token,
            "expires_in": LIFE_SECONDS,
            "issued_at": datetime.fromtimestamp(issued, UTC).isoformat().replace("+00:00", "Z"),
        }


def _granted(scope: Scope, held: Grant) -> Grant:
    """Return the grant, limited to the actions in the scope."""
    return replace(held, actions=scope.actions & held.actions)
