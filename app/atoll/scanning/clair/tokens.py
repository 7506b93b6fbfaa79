"""Tokens that authenticate the registry to Clair, and Clair's notifications to the registry.

Both sign with one key that they share. Clair accepts a single key, so replacing it takes a while in
which the registry has two.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jwt

from atoll.errors import AtollError

ISSUER = "quay"
NOTIFIER = "clair-notifier"
LIFE_SECONDS = 300
# The difference between clocks that is tolerated, as Clair does.
LEEWAY_SECONDS = 15
# Tokens are valid before they are issued, as Clair's own, because it refuses those of a clock that
# is ahead of its own by more than the leeway.
_BACKDATED_SECONDS = 60
_ALGORITHM = "HS256"


class InvalidToken(AtollError):
    """A notification has no token, or one that is expired or not signed by Clair."""


def decoded_key(text: str) -> bytes:
    """Return a shared key that is given in Base64.

    Raises:
        ValueError: It is not Base64, or empty.
    """
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("the key that is shared with Clair is not Base64") from error
    if not key:
        raise ValueError("the key that is shared with Clair is empty")
    return key


def request_token(
    key: bytes, *, issuer: str = ISSUER, clock: Callable[[], float] = time.time
) -> str:
    """Return a token for a request to Clair.

    Args:
        key: The key that Clair has.
        issuer: The issuer, which Clair's configuration must list.
        clock: Returns the time in seconds since 1970.
    """
    now = int(clock())
    issued = now - _BACKDATED_SECONDS
    claims = {"iss": issuer, "iat": issued, "nbf": issued, "exp": now + LIFE_SECONDS}
    return jwt.encode(claims, key, algorithm=_ALGORITHM)


class NotificationTokens:
    """Verifies the tokens of Clair's notifications."""

    def __init__(self, keys: Iterable[bytes], clock: Callable[[], float] = time.time) -> None:
        """Make a verifier.

        Args:
            keys: The accepted keys: one, or two while the key is replaced.
            clock: Returns the time in seconds since 1970.
        """
        self._keys: Sequence[bytes] = tuple(keys)
        self._clock = clock

    def verify(self, authorization: str | None) -> None:
        """Verify the Authorization header of a notification.

        Args:
            authorization: The header; None if there is none.

        Raises:
            InvalidToken: Its token is missing, expired, of another issuer, or signed with another
                key or algorithm.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise InvalidToken("the notification has no bearer token")
        cause: jwt.InvalidTokenError | None = None
        for key in self._keys:
            try:
                claims = _decode(token.strip(), key)
            except jwt.InvalidSignatureError as error:
                cause = error
                continue
            except jwt.InvalidTokenError as error:
                raise InvalidToken(f"the token of the notification is invalid: {error}") from error
            self._check_times(claims)
            return
        raise InvalidToken("the token of the notification is not signed with the key") from cause

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._clock()
        times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
        if not all(isinstance(one, (int, float)) for one in times.values()):
            raise InvalidToken("the token of the notification has a malformed time")
        if now >= times["exp"] + LEEWAY_SECONDS:
            raise InvalidToken("the token of the notification has expired")
        if any(now < times.get(name, now) - LEEWAY_SECONDS for name in ("nbf", "iat")):
            raise InvalidToken("the token of the notification is not valid yet")


def _decode(token: str, key: bytes) -> dict[str, Any]:
    """Verify all but the times, for which PyJWT has no clock to inject."""
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[_ALGORITHM],
        issuer=NOTIFIER,
        options={
            "require": ["exp", "iss"],
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
            "verify_aud": False,
        },
    )
    return claims
