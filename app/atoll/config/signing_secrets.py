"""Minimum strength of the secrets that sign tokens and encrypt stored credentials."""

from __future__ import annotations

from atoll.config.model import Bundle

_MINIMUM_LENGTH = 32
# Random decimal numbers, hexadecimal numbers and UUIDs have more different characters.
_MINIMUM_DISTINCT = 6


def secret_problems(bundle: Bundle) -> list[str]:
    """Return a message for each secret that an attacker could guess.

    Every user has a signed token and can therefore try to guess the key offline. A guessed key
    signs tokens for any account.
    """
    keys = (
        ("SECRET_KEY", bundle.secret_key),
        ("DATABASE_SECRET_KEY", bundle.database_secret_key),
    )
    found = []
    for key, secret in keys:
        weakness = None if secret is None else _weakness(secret.get_secret_value())
        if weakness:
            found.append(
                f"{key}: {weakness}; set a random value of at least {_MINIMUM_LENGTH} characters,"
                " the same at all sites, for example from `openssl rand -hex 32`"
            )
    return found


def _weakness(secret: str) -> str | None:
    if len(secret) < _MINIMUM_LENGTH:
        return f"has {len(secret)} characters, which can be guessed"
    if len(set(secret)) < _MINIMUM_DISTINCT:
        return f"has fewer than {_MINIMUM_DISTINCT} different characters"
    # A string occurs inside its own doubling, other than at the ends, only if it is periodic.
    if (secret + secret).find(secret, 1) < len(secret):
        return "repeats a shorter text"
    return None
