"""PostgreSQL advisory locks: how lock keys are computed, and the locks that protect one activity.

All functions return SQL. Keys are part of the protocol between the versions that run side by side
during an upgrade, so a key never changes. A hash collision costs a wait and nothing else.
"""

from __future__ import annotations


def text_key(text: str) -> str:
    """Return the key for the value of an SQL expression of type text."""
    return f"hashtextextended({text}, 0)"


def pair_key(number: str, text: str) -> str:
    """Return the key for an integer and a text, both SQL expressions."""
    return f"{number}::int, {short_hash(text)}"


def short_hash(text: str) -> str:
    """Return the second half of `pair_key`, to order locks by."""
    return f"hashtext({text})"


def lock(key: str) -> str:
    """Return the call that waits for an exclusive lock until the end of the transaction."""
    return f"pg_advisory_xact_lock({key})"


def lock_shared(key: str) -> str:
    """Return the call that waits for a shared lock until the end of the transaction."""
    return f"pg_advisory_xact_lock_shared({key})"


def try_lock(key: str) -> str:
    """Return the condition that an exclusive lock was taken without waiting."""
    return f"pg_try_advisory_xact_lock({key})"


def try_lock_shared(key: str) -> str:
    """Return the condition that a shared lock was taken without waiting."""
    return f"pg_try_advisory_xact_lock_shared({key})"


# One process at a time moves old log entries to files.
LOG_ROTATION = text_key("'log rotation'")
# One process at a time writes samples of lag.
LAG_SAMPLES = text_key("'lag samples'")
# Pushes that need many locks wait for each other, because all transactions share the lock table.
LARGE_MANIFEST = text_key("'large manifest'")
# Requests that delete large repositories wait for each other instead of deadlocking.
LARGE_DELETION = text_key("'large deletion'")
