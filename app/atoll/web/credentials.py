"""What a request shows to get in."""

from __future__ import annotations

import base64
import binascii

import falcon

from atoll.auth.credentials import Credentials
from atoll.web.errors import Unauthorized

_BASIC_CHALLENGE = 'Basic realm="registry"'


def basic_credentials(req: falcon.Request) -> Credentials | None:
    """Return what HTTP Basic (RFC 7617) gives, None without a header, or raise Unauthorized."""
    header = req.get_header("Authorization")
    if header is None:
        return None
    scheme, _, encoded = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError(scheme)
        username, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (ValueError, binascii.Error) as error:
        raise Unauthorized(_BASIC_CHALLENGE) from error
    # PostgreSQL cannot hold a zero byte, and an app token is looked up by its first half.
    if not colon or "\0" in username + password:
        raise Unauthorized(_BASIC_CHALLENGE)
    return Credentials(username, password)
