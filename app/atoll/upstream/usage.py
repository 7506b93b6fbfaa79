"""The requests that all processes currently send to upstreams, for operators and monitoring."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from atoll.db.pool import Database

_USAGE = """
SELECT u.host, u.account, u.route <> '',
    greatest(extract(epoch FROM u.blocked_until - clock_timestamp()), 0)::float8,
    u.remaining, u.allowance,
    CASE WHEN u.period_ends > clock_timestamp() THEN u.pulls ELSE 0 END,
    coalesce(sum(l.in_use), 0)::int, coalesce(sum(l.wanted), 0)::int, count(l.holder)::int
FROM upstream u
LEFT JOIN upstreamlease l ON l.upstream_id = u.id AND l.expires > clock_timestamp()
GROUP BY u.id ORDER BY u.host, u.account, u.route
"""


@dataclass(frozen=True)
class UpstreamUsage:
    """The requests to an upstream in the name of an account.

    Attributes:
        host: the host and port.
        account: the user name; empty for anonymous access.
        has_route: whether a mirror reaches it through a proxy or TLS settings of its own.
        blocked: seconds for which no request is sent, because the upstream asked for a pause.
        remaining: the pulls that the upstream last announced to be left; None if it did not.
        allowance: of how many.
        pulls: the pulls that were granted to processes in the current period of UPSTREAM_LIMITS.
        in_use: requests in progress.
        wanted: requests in progress or waiting.
        processes: the processes that share the upstream.
    """

    host: str
    account: str
    has_route: bool
    blocked: float
    remaining: int | None
    allowance: int | None
    pulls: int
    in_use: int
    wanted: int
    processes: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def upstream_usage(database: Database) -> list[UpstreamUsage]:
    """Return the use of each upstream that requests were sent to.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
    """
    return [
        UpstreamUsage(host, account, has_route, blocked or 0.0, *rest)
        for host, account, has_route, blocked, *rest in database.read(_USAGE)
    ]
