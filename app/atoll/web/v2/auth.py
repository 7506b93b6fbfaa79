"""`/v2/auth`: a token for a user name and a password, or for nobody.

Answer: Docker registry token specification, with `expires_in` and `issued_at`, without which
clients ask again each minute.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

import falcon

from atoll.auth.access import Access, Grant
from atoll.auth.scopes import parse_scopes
from atoll.auth.tokens import LIFE_SECONDS, Tokens
from atoll.web.errors import Unauthorized


class Auth:
    """Issues tokens. One round trip to the database."""

    def __init__(self, access: Access, tokens: Tokens) -> None:
        self._access = access
        self._tokens = tokens

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a token for as much of the scopes as the user may do."""
        username, password = _credentials(req)
        scopes = parse_scopes(req.get_param_as_list("scope") or [], self._tokens.audience)
        grants = self._access.grants(username, password, [scope.repository for scope in scopes])
        allowed = {grant.repository: grant.actions for grant in grants}
        token, issued = self._tokens.issue(
            username,
            [
                Grant(scope.repository, scope.actions & allowed.get(scope.repository, frozenset()))
                for scope in scopes
            ],
        )
        resp.set_header("Cache-Control", "no-store")
        resp.media = {
            "token": token,
            "access_token": token,
            "expires_in": LIFE_SECONDS,
            "issued_at": datetime.fromtimestamp(issued, UTC).isoformat().replace("+00:00", "Z"),
        }


def _credentials(req: falcon.Request) -> tuple[str | None, str | None]:
    """Return the user name and the password of HTTP Basic (RFC 7617), or nobody's."""
    header = req.get_header("Authorization")
    if header is None:
        return None, None
    scheme, _, encoded = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError(scheme)
        username, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (ValueError, binascii.Error) as error:
        raise Unauthorized('Basic realm="registry"') from error
    if not colon or "\0" in username:
        raise Unauthorized('Basic realm="registry"')
    return username, password
