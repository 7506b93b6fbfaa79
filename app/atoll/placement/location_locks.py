"""Advisory locks on locations: state changes, removals and placements.

The states lock serializes all changes of the set of locations whose copies count: state changes and
each step of each removal. A removal holds it while it proves that every blob has another copy, so
client requests never take it.

A removal holds the location's own lock exclusively while it proves and marks the location. Placing
a blob there requires the lock shared, without waiting: during a removal the blob is placed at
another location.

Lock order: states lock, digest locks (`locks`), the location's lock, rows.
"""

from __future__ import annotations

from atoll.db.advisory_locks import lock, text_key, try_lock_shared

# Seconds that a command waits for another command to release the states lock.
STATES_LOCK_WAIT = 4

_STATES = text_key("'states of locations'")
_LOCATION = text_key("'location ' || %(location)s")

LOCK_STATES = f"SELECT {lock(_STATES)}"

# Raises LockNotAvailable after STATES_LOCK_WAIT seconds.
LOCK_STATES_SOON = f"""
SET LOCAL lock_timeout = '{STATES_LOCK_WAIT}s';
{LOCK_STATES};
SET LOCAL lock_timeout TO DEFAULT
"""

LOCK_LOCATION = f"SELECT {lock(_LOCATION)}"

# Precedes a statement that places blobs at %(location)s, in the same string. The snapshot of that
# statement is newer than the lock, so it sees the mark of a removal that has just ended.
TRY_LOCK_LOCATION_SHARED = f"""
SELECT set_config('atoll.location_locked', {try_lock_shared(_LOCATION)}::text, true);"""

# A condition on location `l`: it accepts placements, and a removal waits for this transaction.
# Requires TRY_LOCK_LOCATION_SHARED before the statement.
ACCEPTS_PLACEMENTS = "(l.state <> 'removed' AND current_setting('atoll.location_locked')::boolean)"
