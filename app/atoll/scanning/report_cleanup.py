"""Delete the reports of images that no repository has any more from the scanner."""

from __future__ import annotations

import logging

from atoll.scanning.clair.errors import (
    ScannerBusy,
    ScannerError,
    ScannerRefused,
    ScannerUnavailable,
)
from atoll.scanning.clairs import Clairs
from atoll.scanning.removals import Removals

log = logging.getLogger(__name__)

_BATCH = 20
_POSTPONING = (ScannerUnavailable, ScannerBusy, ScannerRefused)


class ReportCleanup:
    """Deletes reports in batches."""

    def __init__(self, removals: Removals, clairs: Clairs, *, enabled: bool) -> None:
        """Provide the cleanup.

        Args:
            removals: The images that are gone.
            clairs: The scanners.
            enabled: SECURITY_SCANNER_V4_MANIFEST_CLEANUP; otherwise the scanner keeps its reports.
        """
        self._removals = removals
        self._clairs = clairs
        self._enabled = enabled

    def step(self) -> bool:
        """Delete the reports of a batch, and return whether there may be more.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        if self._enabled and self._clairs.seconds() > 0:
            return False
        claims = self._removals.claim(_BATCH)
        for position, claim in enumerate(claims):
            try:
                if self._enabled:
                    self._delete(claim.digest)
            except _POSTPONING as error:
                fields = {"reason": error.reason, "cause": str(error)}
                log.warning("waiting for scanner", extra=fields)
                self._removals.postpone(claims[position:])
                return False
            except ScannerError as error:
                fields = {"digest": claim.digest, "reason": error.reason, "cause": str(error)}
                log.warning("report not deleted", extra=fields)
                self._removals.retry(claim, f"{error.reason}: {error}")
            else:
                self._removals.finish(claim)
        return bool(claims)

    def _delete(self, digest: str) -> None:
        self._clairs.first(lambda client: client.delete(digest))
