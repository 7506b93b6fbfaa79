"""Select repositories and tags for an export."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from atoll.db.pool import Database
from atoll.names import InvalidName, RepositoryName, parse_tag
from atoll.registry.errors import ManifestUnknown, RepositoryUnknown
from atoll.registry.repositories import REPOSITORY_ID, name_parameters
from atoll.registry.tags import alive

# List the tags of a repository. Its row is returned without tags, too.
_TAGS = f"""
SELECT repository.id, t.name, m.digest, t.lifetime_start_ms
FROM (SELECT {REPOSITORY_ID} AS id) AS repository
LEFT JOIN tag t ON t.repository_id = repository.id AND {alive("t")}
LEFT JOIN manifest m ON m.id = t.manifest_id
ORDER BY t.name COLLATE "C"
"""

_REPOSITORIES = """
SELECT r.name FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
WHERE n.username = %(namespace)s ORDER BY r.name COLLATE "C"
"""


@dataclass(frozen=True)
class SelectedTag:
    """A tag, the digest of its manifest, and when it was pointed there (milliseconds)."""

    name: str
    digest: str
    changed_ms: int


@dataclass(frozen=True)
class SelectedRepository:
    """A repository for an export.

    Attributes:
        name: The repository, bound to its id.
        selected: The selected tags.
        others: Tags that are not selected.
        whole: Whether all tags were requested.
    """

    name: RepositoryName
    selected: Sequence[SelectedTag]
    others: Sequence[SelectedTag]
    whole: bool


def parse_reference(text: str) -> tuple[RepositoryName, str | None]:
    """Parse NAMESPACE/NAME[:TAG].

    Raises:
        InvalidName: It is malformed.
    """
    name, colon, tag = text.partition(":")
    if "/" not in name:
        raise InvalidName(f"'{text[:200]}' has no namespace; use NAMESPACE/REPOSITORY[:TAG]")
    return RepositoryName.parse(name), parse_tag(tag) if colon else None


class Selection:
    """Looks up repositories and tags for an export."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def repositories_of(self, namespace: str) -> list[RepositoryName]:
        """Return all repositories of a namespace."""
        rows = self._database.read(_REPOSITORIES, {"namespace": namespace})
        return [RepositoryName(namespace, row[0]) for row in rows]

    def select(self, name: RepositoryName, tags: Collection[str] | None) -> SelectedRepository:
        """Return tags of a repository; all if `tags` is None.

        Raises:
            RepositoryUnknown: There is no such repository.
            ManifestUnknown: It does not have one of the tags.
        """
        rows = self._database.read(_TAGS, name_parameters(name))
        if rows[0][0] is None:
            raise RepositoryUnknown(f"there is no repository '{name}'")
        found = [SelectedTag(*row[1:]) for row in rows if row[1] is not None]
        if tags is not None and (unknown := set(tags) - {one.name for one in found}):
            raise ManifestUnknown(f"'{name}' has no tag '{min(unknown)}'")
        selected = [one for one in found if tags is None or one.name in tags]
        others = [one for one in found if tags is not None and one.name not in tags]
        return SelectedRepository(name.bound(rows[0][0]), selected, others, tags is None)
