"""How errors fail runs and tags of mirrors."""

from __future__ import annotations

from atoll.auth.secrets import SecretUnreadable
from atoll.errors import AtollError
from atoll.mirroring.outcome import Outcome, failed
from atoll.mirroring.problems import problem_text
from atoll.upstream.errors import TransferError

_UNKNOWN = "unknown_error"


class RunRefused(AtollError):
    """A run cannot be planned.

    Attributes:
        outcome: How the run ends.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.outcome: Outcome = failed(reason, problem_text(reason))


def outcome_of(error: Exception) -> Outcome:
    """Return how a run or a tag fails with an error."""
    if isinstance(error, RunRefused):
        return error.outcome
    if isinstance(error, TransferError):
        code, is_temporary = error.code, error.is_temporary
    elif isinstance(error, SecretUnreadable):
        code, is_temporary = "decryption_failed", False
    else:
        code, is_temporary = _UNKNOWN, True
    return failed(code, problem_text(code), is_temporary=is_temporary)


def reason_of(error: Exception) -> str:
    """Return Quay's name of a failure."""
    if isinstance(error, TransferError):
        return error.reason
    if isinstance(error, RunRefused):
        return error.outcome.reason or _UNKNOWN
    return "decryption_failed" if isinstance(error, SecretUnreadable) else _UNKNOWN
