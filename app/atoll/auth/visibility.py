"""Pull permission as an SQL condition, for statements that list repositories."""

from __future__ import annotations


def readable_by(repository: str, *, by_id: bool = False) -> str:
    """Return the condition that the user %(username)s has pull permission on a repository.

    A null user name stands for anonymous clients. With %(everything)s true, for superusers, the
    condition always holds.

    Args:
        repository: The name of a row with id, namespace_id and visibility.
        by_id: Whether %(user_id)s, unless it is null, must be the user's id: the name can belong to
            another user later.
    """
    same = "(%(user_id)s::bigint IS NULL OR actor.id = %(user_id)s)" if by_id else "true"
    return f"""(
    %(everything)s OR ({_enabled(repository)} AND ({repository}.visibility = 'public' OR EXISTS (
        SELECT FROM "user" actor
        WHERE actor.username = %(username)s AND {same} AND actor.enabled AND (
            actor.id = {repository}.namespace_id
            OR EXISTS (
                SELECT FROM team t JOIN teammember m ON m.team_id = t.id
                WHERE t.organization_id = {repository}.namespace_id
                  AND m.user_id = actor.id AND t.role = 'admin')
            OR EXISTS (
                SELECT FROM repositorypermission p
                WHERE p.repository_id = {repository}.id AND (
                    p.user_id = actor.id OR p.team_id IN (
                        SELECT m.team_id FROM teammember m WHERE m.user_id = actor.id))))))))"""


def _enabled(repository: str) -> str:
    """Return the condition that the repository's namespace is enabled."""
    return f"""EXISTS (SELECT FROM "user" owner
        WHERE owner.id = {repository}.namespace_id AND owner.enabled)"""
