"""Minimum strength of the secrets that sign tokens and encrypt stored credentials."""

from __future__ import annotations

from atoll.config.model import Bundle

_MINIMUM_LENGTH = 32
# Random decimal digits, hexadecimal digits and UUIDs have more.
_MINIMUM_DISTINCT = 6


def secret_problems(bundle: Bundle) -> list[str]:
    """Return a sentence for each secret that an attacker could guess.

    Every account holds a token, so a weak key can be guessed offline and then signs tokens for
    any other account.
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
    # A text is found inside its own double, other than at the start, only if it is periodic.
    if (secret + secret).find(secret, 1) < len(secret):
        return "repeats a shorter text"
    return None
