"""The advisory lock on a tag of a repository, which serializes writers of the tag."""

from __future__ import annotations

from atoll.db.advisory_locks import lock, pair_key, short_hash


def lock_tag(repository: str, tag: str) -> str:
    """Return the statement that locks a tag.

    Args:
        repository: An SQL expression for the repository's id.
        tag: An SQL expression for the tag's name.
    """
    return f"SELECT {lock(pair_key(repository, tag))};"


def lock_tags(repository: str, tags: str) -> str:
    """Return the statement that locks several tags in a fixed order.

    Args:
        repository: An SQL expression for the repository's id.
        tags: An SQL expression for an array of names.
    """
    return f"""SELECT {lock(pair_key(repository, "tag"))}
FROM unnest({tags}::text[]) AS tag ORDER BY {short_hash("tag")};"""
