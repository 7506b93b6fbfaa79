"""The signing secret that all sites share, for bundles that configure none.

Without SECRET_KEY, which Quay's documentation leaves out of its example bundles, Quay generates a
key in each process. In Atoll the sites use a secret that a migration created in the database.
"""

from __future__ import annotations

from pydantic import SecretStr

from atoll.config import Bundle
from atoll.db.pool import Database


def with_shared_secret(bundle: Bundle, database: Database) -> Bundle:
    """Return the bundle with its own secret or, if it has none, the one in the database.

    Raises:
        DatabaseUnavailable: The bundle has no secret, and the database cannot be read.
    """
    if bundle.secret_key is not None or bundle.database_secret_key is not None:
        return bundle
    secret = database.read("SELECT encode(secret, 'hex') FROM signingsecret")[0][0]
    return bundle.model_copy(update={"secret_key": SecretStr(secret)})
