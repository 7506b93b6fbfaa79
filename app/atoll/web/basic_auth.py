"""HTTP Basic authentication."""

from __future__ import annotations

import base64
import binascii

import falcon

from atoll.auth.credentials import Credentials
from atoll.web.errors import Unauthorized

# No `Basic`: browsers would prompt for a password and attach it to all later requests.
_CHALLENGE = 'Bearer realm="registry"'


def basic_credentials(req: falcon.Request) -> Credentials | None:
    """Return the HTTP Basic (RFC 7617) credentials of a request, None without a header.

    Raises:
        Unauthorized: The header is malformed or has another scheme.
    """
    header = req.get_header("Authorization")
    if header is None:
        return None
    scheme, _, encoded = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError(scheme)
        username, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (ValueError, binascii.Error) as error:
        raise Unauthorized(_CHALLENGE) from error
    # PostgreSQL cannot hold a zero byte, and an app token is looked up by its first half.
    if not colon or "\0" in username + password:
        raise Unauthorized(_CHALLENGE)
    return Credentials(username, password)
