"""The exit code and the message of an exception that ends a command."""

from __future__ import annotations

from atoll import exit_codes
from atoll.errors import UserError


def explain(error: Exception) -> tuple[int, str] | None:
    """Return the exit code and the message for an exception, or None if it is a bug."""
    # A failed health check, which may run every few seconds, must not import the other modules.
    if type(error) is UserError:
        return exit_codes.FAILED, str(error)
    from atoll.config import ConfigError  # noqa: PLC0415
    from atoll.db.pool import DatabaseUnavailable, SchemaOutdated  # noqa: PLC0415
    from atoll.db.sessions import SessionsUnsupported  # noqa: PLC0415

    if isinstance(error, ConfigError):
        return exit_codes.CONFIG, str(error)
    if isinstance(error, SessionsUnsupported):
        return exit_codes.CONFIG, f"DB_URI: {error}"
    if isinstance(error, DatabaseUnavailable):
        message = str(error)
        if not isinstance(error, SchemaOutdated):
            message = (
                f"PostgreSQL cannot be reached: {error}\nCheck DB_URI and the state of the server."
            )
        return exit_codes.UNAVAILABLE, message
    if isinstance(error, UserError):
        return exit_codes.FAILED, str(error)
    return None
