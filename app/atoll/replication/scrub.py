"""The verification that goes on in the background, slowly: what was not looked at for longest.

What is wrong goes into quarantine at once, and is written anew from a good copy. A store that seems
to have lost everything is rather the wrong one: that is told, and nothing is done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from prometheus_client import Counter

from atoll.db.pool import Database
from atoll.replication.healing import heal, implausible
from atoll.replication.verification import (
    COLUMNS,
    Run,
    Scope,
    Verifier,
    begin,
    note_right,
    record,
    to_look_at,
)

log = logging.getLogger(__name__)

# Placements of one turn, chosen by chance among those that were not looked at for longest, so that
# some that cannot be read, or healed, do not keep the others waiting.
_TURN, _AMONG = 20, 1000

VERIFIED = Counter("atoll_verified_placements", "Copies that were read and are right", ["location"])
WRONG = Counter("atoll_wrong_placements", "Copies that were read and are wrong", ["location"])

_OLDEST = f"""
SELECT {COLUMNS}
FROM (SELECT * FROM imagestorageplacement
      WHERE location_id = (SELECT id FROM imagestoragelocation
                           WHERE name = %(location)s AND state <> 'removed')
        AND verified_at < clock_timestamp() - make_interval(secs => %(age)s)
      ORDER BY verified_at LIMIT {_AMONG}) p
JOIN imagestorage s ON s.id = p.storage_id JOIN imagestoragelocation l ON l.id = p.location_id
ORDER BY random() LIMIT {_TURN}
"""


class Scrubber:
    """Verifies what is at LOCATION with VERIFIER; what was right AGE seconds ago is left alone.

    FORGET_CACHED is told each blob, by its digest, of which a placement changed its state.
    """

    def __init__(
        self,
        database: Database,
        verifier: Verifier,
        location: str,
        *,
        age: int,
        forget_cached: Callable[[str], None],
    ) -> None:
        self._database = database
        self._verifier = verifier
        self._scope = Scope(location=location, full=True)
        self._location = location
        self._age = age
        self._forget_cached = forget_cached

    def turn(self) -> int:
        """Look at some placements, act on what is wrong, and return how many could be looked at."""
        rows = self._database.read(_OLDEST, {"location": self._location, "age": self._age})
        looked = [self._verifier.look(to_look_at(row), full=True) for row in rows]
        note_right(self._database, looked)
        VERIFIED.labels(self._location).inc(sum(one.hashed for one in looked))
        if any(one.result is not None for one in looked):
            run = begin(self._database, self._scope)
            record(self._database, run, looked)
            self._act(run)
        return sum(one.unreachable is None for one in looked)

    def _act(self, run: Run) -> None:
        fields = {"location": self._location, "verification": run.id}
        if implausible(run.counts):
            log.error("store lacks nearly everything; is it the right one?", extra=fields)
            return
        for one in heal(self._database, run, spared=[], queue=True):
            self._forget_cached(one.digest)
            if not one.sound:
                WRONG.labels(self._location).inc()
                log.error("copy is wrong; in quarantine", extra={**fields, "digest": one.digest})
