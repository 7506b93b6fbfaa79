"""The error of the lab."""

from pathlib import Path


class LabError(Exception):
    """A step failed.

    Attributes:
        log: The log with details.
    """

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log
