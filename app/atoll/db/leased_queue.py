"""Queues in PostgreSQL tables whose rows are claimed with leases.

All queues share one protocol:

- A claim locks candidates with SKIP LOCKED, so that concurrent claims never wait for each other. It
  sets a random `lease_token` and, on the database's clock, `lease_expires`.
- Every later write names the token. If it affects no row, the lease was lost: it expired and
  another process claimed the row, or the row is gone. An expired lease remains valid until then.
- Failed work is released with a back-off. Work that was not attempted is given back, which does not
  count as an attempt.

Which row is next, and what is written when work is done, differs between queues. Their statements
are composed of the SQL of `LeasedTable`, so that each takes one round trip.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from atoll.db.pool import Database
from atoll.db.transient import run_with_retries

# Characters of an error message that are stored.
_ERROR_MAXIMUM = 1000

# The assignments of a statement that claims. Expects %(seconds)s, the duration of a lease.
SET_LEASE = """lease_token = gen_random_uuid(), attempts = attempts + 1,
        lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s)"""


def unleased(row: str, now: str = "clock_timestamp()") -> str:
    """Return the condition that nothing holds a lease on a row.

    Args:
        row: the alias of the row.
        now: an SQL expression for the current time.
    """
    return f"({row}.lease_expires IS NULL OR {row}.lease_expires <= {now})"


class LeaseLost(Exception):
    """The lease expired and another process claimed the row, or the row is gone."""


class Leased(Protocol):
    """A claimed row."""

    @property
    def id(self) -> int | UUID:
        """The row's key."""

    @property
    def lease_token(self) -> UUID:
        """The token that the claim set."""

    @property
    def attempts(self) -> int:
        """The number of attempts, including this one."""


@dataclass(frozen=True)
class Backoff:
    """Seconds between attempts: they double with each attempt, up to a maximum.

    Attributes:
        first: seconds after the first attempt.
        maximum: most seconds.
        jitter: greatest random deviation, as a share. Rows that failed together are then not
            retried together.
    """

    first: float
    maximum: float
    jitter: float = 0.0

    def seconds(self, attempts: int) -> float:
        """Return the pause after a number of attempts."""
        doublings = min(max(attempts, 1) - 1, 20)
        seconds = min(self.first * 2.0**doublings, self.maximum)
        return seconds * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311


class LeasedTable:
    """The SQL of a queue's table.

    The table has the columns lease_token, lease_expires, attempts, available_at and last_error.

    Attributes:
        claimed: common table of the rows that a statement claims: those of the common table `next`,
            which has the key. Expects %(seconds)s.
        is_held: condition that the lease of the row %(id)s is held by %(token)s.
        held: common table of the leases %(ids)s and %(tokens)s.
        lock_held: statement that locks the rows of these leases. It precedes a statement that
            changes them, whose snapshot then shows the result of what was waited for.
        extend: statement that extends these leases, by %(seconds)s from now. Returns the tokens of
            the leases that are held.
        give_back: statement that releases these leases without counting an attempt.
        release: statement that releases %(id)s, with the error %(error)s, for %(wait)s seconds.
        delete: statement that deletes %(id)s.
    """

    def __init__(self, name: str, *, key: str = "id", key_type: str = "bigint") -> None:
        """Build the SQL.

        Args:
            name: the table.
            key: the primary key.
            key_type: the type of the key.
        """
        self._name = name
        self._key = key
        self.is_held = f"{key} = %(id)s AND lease_token = %(token)s"
        self.claimed = f"""claimed AS (
    UPDATE {name} q SET {SET_LEASE}
    FROM next WHERE q.{key} = next.{key}
    RETURNING q.*
)"""
        self.held = f"""held AS (
    SELECT * FROM unnest(%(ids)s::{key_type}[], %(tokens)s::uuid[]) AS held (id, token)
)"""
        self.lock_held = f"WITH {self.held} {self.held_rows('FOR UPDATE')};"
        # A row that another statement has locked is being finished or released, or is extended the
        # next time: it is not waited for. Its lease is held as long as it has the token.
        self.extend = f"""
WITH {self.held}, locked AS ({self.held_rows("FOR UPDATE SKIP LOCKED")}), extended AS (
    UPDATE {name} q
    SET lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s)
    WHERE q.ctid = ANY(ARRAY(SELECT place FROM locked))
)
SELECT q.lease_token FROM held CROSS JOIN LATERAL (
    SELECT q.lease_token FROM {name} q
    WHERE q.{key} = held.id AND q.lease_token = held.token OFFSET 0) AS q
"""
        self.give_back = f"""
{self.lock_held}
WITH {self.held}, ours AS ({self.held_rows()})
UPDATE {name} q
SET lease_token = NULL, lease_expires = NULL, attempts = attempts - 1
WHERE q.ctid = ANY(ARRAY(SELECT place FROM ours))
"""
        self.release = f"""
UPDATE {name}
SET lease_token = NULL, lease_expires = NULL, last_error = %(error)s,
    available_at = clock_timestamp() + make_interval(secs => %(wait)s)
WHERE {self.is_held}"""
        self.delete = f"DELETE FROM {name} WHERE {self.is_held}"

    def held_rows(self, lock: str = "") -> str:
        """Return the query for the places of the rows of `held`, in the order of their keys.

        Statements that lock in one order cannot deadlock. Each row is looked up by its key alone:
        where an old snapshot keeps finished rows, the planner believes the table to be almost empty
        and would otherwise read all of it.

        Args:
            lock: a locking clause.
        """
        return f"""
    SELECT held.*, q.place FROM (SELECT * FROM held ORDER BY id) AS held
    CROSS JOIN LATERAL (
        SELECT q.ctid AS place FROM {self._name} q
        WHERE q.{self._key} = held.id AND q.lease_token = held.token OFFSET 0 {lock}) AS q"""


class LeasedQueue:
    """Claims, extends, releases and finishes rows of one table.

    Statements that conflict with another transaction are retried.
    """

    def __init__(
        self, database: Database, table: LeasedTable, *, lease_seconds: float, backoff: Backoff
    ) -> None:
        """Make a queue.

        Args:
            database: where the table is.
            table: the table's SQL.
            lease_seconds: how long a lease lasts unless it is extended.
            backoff: the pauses between attempts.
        """
        self._database = database
        self._table = table
        self._lease_seconds = lease_seconds
        self._backoff = backoff

    def claim(self, statement: str, parameters: Mapping[str, object]) -> list[Any]:
        """Claim rows by a statement composed of the table's SQL, and return its result."""
        return self.run(statement, {**parameters, "seconds": self._lease_seconds})

    def extend(self, claimed: Sequence[Leased]) -> set[UUID]:
        """Extend leases and return the tokens of those that are still held.

        The leases of rows that are being finished at this moment are among them.
        """
        values = {**lease_parameters(claimed), "seconds": self._lease_seconds}
        return {row[0] for row in self.run(self._table.extend, values)}

    def release(
        self,
        one: Leased,
        error: str,
        *,
        backoff: Backoff | None = None,
        statement: str | None = None,
    ) -> None:
        """Release a row after a failed attempt.

        Args:
            one: the row.
            error: the reason, for operators.
            backoff: replaces the queue's pauses.
            statement: a statement that includes `LeasedTable.release`.
        """
        values = {
            # PostgreSQL's text holds any character but this one.
            "error": error[:_ERROR_MAXIMUM].replace("\0", ""),
            "wait": (backoff or self._backoff).seconds(one.attempts),
        }
        self.finish(one, statement or self._table.release, values)

    def give_back(self, claimed: Sequence[Leased]) -> None:
        """Release rows that were not attempted; they can be claimed at once."""
        self.run(self._table.give_back, lease_parameters(claimed))

    def finish(
        self, one: Leased, statement: str, parameters: Mapping[str, object] | None = None
    ) -> list[Any]:
        """Run a statement that names the lease of a row, and return its result.

        Args:
            one: the row.
            statement: includes `LeasedTable.is_held` or a statement that does.
            parameters: further parameters.
        """
        values = {**(parameters or {}), "id": one.id, "token": one.lease_token}
        return self.run(statement, values)

    def run(self, statement: str, parameters: Mapping[str, Any]) -> list[Any]:
        """Run any statement about the queue."""
        return run_with_retries(self._database, statement, parameters)


def lease_parameters(claimed: Sequence[Leased]) -> dict[str, list[Any]]:
    """Return the parameters of `LeasedTable.held`."""
    return {
        "ids": [one.id for one in claimed],
        "tokens": [one.lease_token for one in claimed],
    }
