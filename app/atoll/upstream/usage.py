"""The requests that all processes currently send to upstreams, for operators and monitoring."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from atoll.db.pool import Database

_USAGE = """
SELECT u.id, u.host, u.account, u.route <> '',
    CASE WHEN u.blocked_until > now() THEN u.blocked_until END,
    coalesce(greatest(extract(epoch FROM u.blocked_until - now()), 0), 0)::float8,
    u.remaining, u.allowance, u.remaining_at,
    CASE WHEN u.period_ends > now() THEN u.pulls ELSE 0 END,
    CASE WHEN u.period_ends > now() THEN u.period_ends END,
    lease.in_use, lease.wanted, lease.processes
FROM upstream u
CROSS JOIN LATERAL (
    SELECT coalesce(sum(in_use), 0)::int AS in_use, coalesce(sum(wanted), 0)::int AS wanted,
        count(*)::int AS processes
    FROM upstreamlease WHERE upstream_id = u.id AND expires > now()) AS lease
WHERE %(after)s::bigint IS NULL OR (u.host, u.account, u.route) >
    (SELECT host, account, route FROM upstream WHERE id = %(after)s)
ORDER BY u.host, u.account, u.route LIMIT %(limit)s
"""


@dataclass(frozen=True)
class UpstreamUsage:
    """The requests to an upstream in the name of an account.

    Attributes:
        id: its key.
        host: the host and port.
        account: the user name; empty for anonymous access.
        has_route: whether a mirror reaches it through a proxy or TLS settings of its own.
        blocked_until: until when no request is sent, because the upstream asked for a pause; None
            if requests are sent.
        blocked: the same in seconds.
        remaining: the pulls that the upstream last announced to be left; None if it did not.
        allowance: of how many.
        remaining_at: when the upstream announced them.
        pulls: the pulls that were granted to processes in the current period of UPSTREAM_LIMITS.
        period_ends: when that period ends; None if none has begun.
        in_use: requests in progress.
        wanted: requests in progress or waiting.
        processes: the processes that share the upstream.
    """

    id: int
    host: str
    account: str
    has_route: bool
    blocked_until: datetime | None
    blocked: float
    remaining: int | None
    allowance: int | None
    remaining_at: datetime | None
    pulls: int
    period_ends: datetime | None
    in_use: int
    wanted: int
    processes: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
        }


def upstream_usage(
    database: Database, *, limit: int | None = None, after: int | None = None
) -> list[UpstreamUsage]:
    """Return the use of each upstream that requests were sent to, by host and account.

    Args:
        database: where it is stored.
        limit: the maximum number of upstreams.
        after: the id of the upstream that the list begins after.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
    """
    values = {"limit": limit, "after": after}
    return [UpstreamUsage(*row) for row in database.read(_USAGE, values)]
