"""The rule that repositories of a mirrored organization have no settings of their own."""

from __future__ import annotations

from atoll.db.pool import Database
from atoll.mirroring.errors import MirroredOrganization
from atoll.names import RepositoryName

_IS_MIRRORED = """
SELECT EXISTS (SELECT FROM orgmirrorconfig m JOIN "user" o ON o.id = m.organization_id
               WHERE o.username = %(namespace)s)
"""


def require_own_settings(database: Database, repository: RepositoryName) -> None:
    """Refuse to change a repository whose state and mirror are those of its organization.

    Args:
        database: The database.
        repository: The repository.

    Raises:
        MirroredOrganization: The organization is a mirror.
    """
    if database.read(_IS_MIRRORED, {"namespace": repository.namespace})[0][0]:
        raise MirroredOrganization(
            f"the organization '{repository.namespace}' is a mirror, whose settings apply to"
            f" '{repository}'; change the mirror of the organization instead"
        )
