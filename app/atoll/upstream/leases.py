"""The budgets of upstreams in PostgreSQL: shares of processes, and pauses of upstreams.

A process renews its share with one statement every 10 seconds, so single requests cost none. A
process that dies loses its share when the lease expires.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from uuid import UUID

import psycopg2

from atoll.db.notifications import notify
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.transient import run_with_retries
from atoll.upstream.limits import UpstreamLimits

log = logging.getLogger(__name__)

# The payload of a notification is the id of an upstream.
CHANNEL = "atoll_upstream"
# Seconds after which a share is renewed, and after which it expires.
RENEW_SECONDS = 10.0
_LEASE_SECONDS = 15.0
# The same for a process with less than an equal part, which renews it every second while it waits.
# If it waits no more, the others must not wait for it.
_SHORT_LEASE_SECONDS = 3.0
# The pulls of a limited period are handed out in portions of this share.
_PORTIONS = 10

_KEY = "host = %(host)s AND account = %(account)s AND route = %(route)s"

_REGISTER = """
INSERT INTO upstream (host, account, route) VALUES (%(host)s, %(account)s, %(route)s)
ON CONFLICT DO NOTHING
"""

# Processes renew one after the other, so that their shares together do not exceed the limit.
_LOCK = f"SELECT FROM upstream WHERE {_KEY} FOR UPDATE"

# A process gets the slots that it wants, as far as the others have left them and have no more
# requests in progress. If one of the others has less than an equal part, it gets an equal part; and
# if there are more processes than slots, those that have waited longer go first.
_RENEW = f"""
WITH target AS (
    SELECT * FROM upstream WHERE {_KEY}
), others AS (
    SELECT l.* FROM upstreamlease l JOIN target ON l.upstream_id = target.id
    WHERE l.holder <> %(holder)s AND l.expires > clock_timestamp()
), mine AS (
    SELECT coalesce(max(l.short_since), 'infinity') AS short_since
    FROM upstreamlease l JOIN target ON l.upstream_id = target.id
    WHERE l.holder = %(holder)s AND l.expires > clock_timestamp()
), equal AS (
    SELECT count(*) AS processes, greatest(1, %(concurrent)s / (count(*) + 1)) AS slots
    FROM others
), demand AS (
    SELECT equal.processes, equal.slots AS part,
        %(concurrent)s - coalesce(sum(greatest(others.slots, others.in_use)), 0) AS available,
        coalesce(bool_or(others.slots < least(others.wanted, equal.slots)), false) AS is_contended,
        coalesce(bool_or(others.short_since < mine.short_since), false) AS is_later
    FROM equal CROSS JOIN mine LEFT JOIN others ON true GROUP BY equal.processes, equal.slots
), share AS (
    SELECT is_contended, least(%(wanted)s, part) AS part,
        CASE WHEN is_contended AND is_later AND processes >= %(concurrent)s THEN 0
        ELSE greatest(0, least(%(wanted)s, available,
            CASE WHEN is_contended THEN part ELSE available END)) END::int AS slots
    FROM demand
), period AS (
    SELECT CASE WHEN is_over THEN 0 ELSE greatest(pulls - %(unused)s, 0) END AS pulls,
        CASE WHEN is_over THEN clock_timestamp() + make_interval(secs => %(period)s)
        ELSE period_ends END AS ends
    FROM (SELECT *, coalesce(period_ends <= clock_timestamp(), true) AS is_over FROM target) AS t
), portion AS (
    SELECT CASE WHEN %(pulls)s::bigint IS NULL THEN NULL
        ELSE greatest(least(%(portion)s, %(pulls)s - pulls), 0) END AS pulls
    FROM period
), leased AS (
    INSERT INTO upstreamlease (upstream_id, holder, slots, wanted, in_use, short_since, expires)
    SELECT id, %(holder)s, slots, %(wanted)s, %(in_use)s,
        CASE WHEN slots < part THEN clock_timestamp() END,
        clock_timestamp() + make_interval(secs =>
            CASE WHEN slots < part THEN %(short_seconds)s ELSE %(seconds)s END)
    FROM target, share
    ON CONFLICT (upstream_id, holder) DO UPDATE
    SET slots = excluded.slots, wanted = excluded.wanted, in_use = excluded.in_use,
        expires = excluded.expires, short_since = CASE WHEN excluded.short_since IS NOT NULL
            THEN coalesce(upstreamlease.short_since, excluded.short_since) END
), updated AS (
    UPDATE upstream u SET
        pulls = period.pulls + coalesce(portion.pulls, 0), period_ends = period.ends,
        remaining = coalesce(%(remaining)s, u.remaining),
        allowance = CASE WHEN %(remaining)s::bigint IS NULL THEN u.allowance
            ELSE %(allowance)s::bigint END,
        remaining_at = CASE WHEN %(remaining)s::bigint IS NULL THEN u.remaining_at
            ELSE clock_timestamp() END
    FROM target, period, portion WHERE u.id = target.id
    RETURNING u.*
), expired AS (
    DELETE FROM upstreamlease USING target
    WHERE upstream_id = target.id AND holder <> %(holder)s AND expires < clock_timestamp()
)
SELECT updated.id, share.slots, share.slots < share.part, share.is_contended, portion.pulls,
    greatest(extract(epoch FROM updated.period_ends - clock_timestamp()), 0)::float8,
    greatest(extract(epoch FROM updated.blocked_until - clock_timestamp()), 0)::float8,
    updated.remaining, updated.allowance,
    extract(epoch FROM clock_timestamp() - updated.remaining_at)::float8
FROM updated, share, portion
"""

_BLOCK = f"""
UPDATE upstream SET blocked_until =
    greatest(blocked_until, clock_timestamp() + make_interval(secs => %(seconds)s))
WHERE {_KEY} RETURNING id
"""

_GIVE_BACK = "DELETE FROM upstreamlease WHERE holder = %(holder)s"


@dataclass(frozen=True)
class UpstreamKey:
    """An account at an upstream, whose limits all processes share.

    Attributes:
        host: The host and port.
        account: The user name; empty for anonymous access.
        route: A mark of the way to the host if a user chose it; else empty.
    """

    host: str
    account: str = ""
    route: str = ""


@dataclass(frozen=True)
class Usage:
    """What a process used and observed since its last renewal.

    Attributes:
        wanted: The most concurrent requests that it had or could have had.
        in_use: The requests in progress.
        was_short: Whether it had less than an equal part of the slots.
        unused: The pulls that it was granted and did not use.
        remaining: The pulls that the upstream last announced to be left; None if it did not.
        allowance: The pulls that the upstream permits in its own period, if it announced them.
    """

    wanted: int = 1
    in_use: int = 0
    was_short: bool = False
    unused: int = 0
    remaining: int | None = None
    allowance: int | None = None


@dataclass(frozen=True)
class Share:
    """What a process may use until its next renewal.

    Attributes:
        upstream_id: The row of the upstream.
        slots: The number of concurrent requests.
        is_short: Whether these are less than an equal part.
        is_contended: Whether another process has less than an equal part.
        pulls: The number of pulls; None for no limit.
        period_left: The seconds until the period of the limit ends.
        blocked: The seconds for which no request may be sent.
        remaining: The pulls that the upstream last announced to be left.
        allowance: Of how many.
        announced: The seconds since it announced them.
    """

    upstream_id: int
    slots: int
    is_short: bool
    is_contended: bool
    pulls: int | None
    period_left: float
    blocked: float | None
    remaining: int | None
    allowance: int | None
    announced: float | None


class UpstreamLeases:
    """Renews and returns the shares of one process."""

    def __init__(self, database: Database, holder: UUID) -> None:
        """Make the leases of a process.

        Args:
            database: Where the tables are.
            holder: An id of the process.
        """
        self._database = database
        self._holder = holder

    def renew(self, key: UpstreamKey, limits: UpstreamLimits, usage: Usage) -> Share:
        """Renew the share of an upstream.

        Other processes are notified if this one begins to have less than an equal part, so that
        they renew their shares early.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        rows = run_with_retries(
            self._database,
            f"{_REGISTER}; {_LOCK}; {_RENEW}",
            {
                **vars(key),
                **vars(usage),
                "holder": self._holder,
                "concurrent": limits.concurrent,
                "pulls": limits.pulls,
                "period": limits.period,
                "portion": max(1, (limits.pulls or 0) // _PORTIONS),
                "seconds": _LEASE_SECONDS,
                "short_seconds": _SHORT_LEASE_SECONDS,
            },
        )
        share = Share(*rows[0])
        if share.is_short and not usage.was_short:
            self._notify(share.upstream_id)
        return share

    def block(self, key: UpstreamKey, seconds: float) -> None:
        """Let no process send requests to an upstream for some time.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        rows = run_with_retries(self._database, _BLOCK, {**vars(key), "seconds": seconds})
        if rows:
            self._notify(rows[0][0])

    def give_back(self) -> None:
        """Return all shares of this process.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        run_with_retries(self._database, _GIVE_BACK, {"holder": self._holder})

    def _notify(self, upstream_id: int) -> None:
        """Notify the other processes; without it, they read the change with their next renewal."""
        try:
            notify(self._database, CHANNEL, [str(upstream_id)])
        except (DatabaseUnavailable, psycopg2.Error) as error:
            log.warning(
                "notification of upstream not sent",
                extra={"upstream": upstream_id, "cause": str(error)},
            )
