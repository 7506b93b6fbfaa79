"""What a person can act on when a step fails."""

from pathlib import Path


class LabError(Exception):
    """A step failed: a sentence that says what to do, and where the log is."""

    def __init__(self, sentence: str, log: Path | None = None) -> None:
        super().__init__(sentence)
        self.log = log
