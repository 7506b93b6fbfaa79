"""The settings that runs read of their mirrors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll.auth.secrets import Cipher
from atoll.mirroring.rules.settings import MirrorSettings


class RunSettings:
    """Reads the settings of mirrors, and applies the defaults of the bundle."""

    def __init__(self, cipher: Cipher, *, rollback: bool = False) -> None:
        """Provide the settings of all mirrors.

        Args:
            cipher: Decrypts passwords.
            rollback: Whether the tags of mirrors without a choice change together or not at all.
        """
        self._cipher = cipher
        self._rollback = rollback

    def of(self, row: Mapping[str, Any]) -> MirrorSettings:
        """Return the settings of a mirror.

        Raises:
            InvalidReference: They were written by a version with other rules.
            SecretUnreadable: The password was encrypted with another bundle's key.
        """
        return MirrorSettings.from_row(row, self._cipher)

    def changes_together(self, settings: MirrorSettings) -> bool:
        """Return whether all tags of a mirror change together or not at all."""
        return self._rollback if settings.rollback is None else settings.rollback
