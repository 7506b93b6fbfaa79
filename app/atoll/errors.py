"""Base classes of the errors that Atoll raises on purpose."""

from __future__ import annotations


class AtollError(Exception):
    """Base class of Atoll's own errors."""


class UserError(AtollError):
    """An error that an operator or a client can correct.

    The message names the problem, the object and the remedy. The command line prints it without a
    traceback and exits with status 1.
    """
