"""Tell the database, for as long as this process lives, that this instance is here."""

from __future__ import annotations

import logging
import threading
import time

from atoll.config import Bundle
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.registry.instances import SIGN_OF_LIFE, Presence

log = logging.getLogger(__name__)


def announce(database: Database, bundle: Bundle, role: str) -> None:
    """Start giving signs of life, in the background."""
    presence = Presence(database, bundle, role)
    threading.Thread(target=_for_ever, args=(presence,), name="presence", daemon=True).start()


def _for_ever(presence: Presence) -> None:
    while True:
        try:
            presence.record()
        except DatabaseUnavailable as error:
            log.warning("no sign of life given", extra={"cause": str(error)})
        except Exception:
            # Before the first migration there is no table; afterwards this is a bug to be told.
            log.exception("no sign of life given, for a reason that nobody thought of")
        time.sleep(SIGN_OF_LIFE)
