"""The secret that all sites share, also where the bundle names none.

Without SECRET_KEY, as its documentation shows bundles, Quay makes a key of its own in each process.
Here the sites then share the one that a migration made in their common database.
"""

from __future__ import annotations

from pydantic import SecretStr

from atoll.config import Bundle
from atoll.db.pool import Database


def with_shared_secret(bundle: Bundle, database: Database) -> Bundle:
    """Return BUNDLE with a secret: its own or, if it has none, the database's.

    Raises DatabaseUnavailable, never for a bundle that has one.
    """
    if bundle.secret_key is not None or bundle.database_secret_key is not None:
        return bundle
    secret = database.read("SELECT encode(secret, 'hex') FROM signingsecret")[0][0]
    return bundle.model_copy(update={"secret_key": SecretStr(secret)})
