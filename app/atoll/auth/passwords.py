"""Passwords are kept as Argon2 hashes and compared in constant time, by argon2-cffi."""

from __future__ import annotations

import argon2

MINIMUM_LENGTH = 8

_hasher = argon2.PasswordHasher()
# Compared against where there is no such user, so that the answer takes as long as for one.
# Nobody's secret; it stands here since to make one takes every command a tenth of a second.
_NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$4cbGnXCqZxLFmiXlcxpRbA$"
    "XHBtio6001cOGtelUClly5vLX6jTZ9I/C22QswlgZSI"
)


class PasswordTooShort(ValueError):
    """A password that Atoll does not accept."""


def hash_password(password: str) -> str:
    """Return the hash to keep of PASSWORD, or raise PasswordTooShort."""
    if len(password) < MINIMUM_LENGTH:
        raise PasswordTooShort(f"the password must have at least {MINIMUM_LENGTH} characters")
    return _hasher.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Tell whether PASSWORD is the one that was hashed. None, for no such user, is never it."""
    try:
        matches = _hasher.verify(password_hash or _NOBODY, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
    return matches and password_hash is not None
