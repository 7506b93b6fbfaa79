"""Advisory locks that order state changes, removals and placements of locations.

The states lock serializes everything that changes which locations count as safe: state changes,
and each step of each removal. It is held for as long as a removal proves that every blob has
another copy, so requests of clients never take it.

A location's own lock is held exclusively while its removal proves and marks. Placing a blob there
tries to take it shared, and never waits: if a removal holds it, the blob is placed elsewhere.

Lock order: states lock, digest locks, the location's lock, rows.
"""

from __future__ import annotations

# Seconds that a command waits for another one that holds the states lock.
STATES_LOCK_WAIT = 4

LOCK_STATES = "SELECT pg_advisory_xact_lock(hashtextextended('states of locations', 0))"

# Raises LockNotAvailable after STATES_LOCK_WAIT seconds.
LOCK_STATES_SOON = f"""
SET LOCAL lock_timeout = '{STATES_LOCK_WAIT}s';
{LOCK_STATES};
SET LOCAL lock_timeout TO DEFAULT
"""

LOCK_LOCATION = "SELECT pg_advisory_xact_lock(hashtextextended('location ' || %(location)s, 0))"

# For a statement that places blobs at %(location)s, sent in the same string after this one: its
# snapshot is then newer than the lock, so it sees the mark of a removal that has just ended.
TRY_LOCK_LOCATION_SHARED = """
SELECT set_config('atoll.location_locked', pg_try_advisory_xact_lock_shared(
    hashtextextended('location ' || %(location)s, 0))::text, true);"""

# A condition on location `l`: blobs may be placed there, and its removal waits for the transaction.
# Expects TRY_LOCK_LOCATION_SHARED before the statement.
ACCEPTS_PLACEMENTS = "(l.state <> 'removed' AND current_setting('atoll.location_locked')::boolean)"
