"""The Clairs of all sites, which share one state: the nearest one that works is asked."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from atoll.breaker import Breaker
from atoll.config import Bundle
from atoll.scanning.clair.client import ClairClient
from atoll.scanning.clair.errors import ScannerError, ScannerUnavailable
from atoll.scanning.clair.http import ClairHttp
from atoll.scanning.clair.tokens import decoded_key

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

# The longest time for which a Clair that fails is not asked.
_PAUSE_SECONDS = 30.0


class NoClairAvailable(ScannerUnavailable):
    """All Clairs are unavailable.

    Attributes:
        causes: The cause by location, in the order in which they would be asked.
        seconds: The seconds until a Clair may be asked again; 0 if one may be asked now.
    """

    def __init__(self, causes: Mapping[str, str], seconds: float) -> None:
        listed = "; ".join(f"'{location}': {cause}" for location, cause in causes.items())
        super().__init__(f"no Clair is available: {listed}" if listed else "no Clair is configured")
        self.causes = dict(causes)
        self.seconds = seconds


class Clairs:
    """Asks the nearest Clair that works; thread-safe.

    A Clair that fails several times in a row is not asked for a while, so that it does not delay
    the requests that another one responds to.
    """

    def __init__(
        self,
        clients: Sequence[ClairClient],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the set of Clairs.

        Args:
            clients: The clients, that of the own site first.
            monotonic: The clock, in seconds.
        """
        self._clients = tuple(clients)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._breakers = {client.location: Breaker(longest=_PAUSE_SECONDS) for client in clients}
        self._causes: dict[str, str] = {}

    @classmethod
    def from_bundle(cls, bundle: Bundle, session: ClairHttp) -> Clairs:
        """Return the Clairs that the bundle names.

        Args:
            bundle: The bundle.
            session: Sends the requests.
        """
        keys = [
            decoded_key(key.get_secret_value())
            for key in (bundle.scanner_previous_psk, bundle.security_scanner_v4_psk)
            if key is not None
        ]
        return cls(
            [
                ClairClient(location, endpoint, keys, session)
                for location, endpoint in endpoints_in_order(
                    bundle.preference,
                    bundle.scanner_endpoints,
                    bundle.security_scanner_v4_endpoint,
                ).items()
            ]
        )

    @property
    def clients(self) -> tuple[ClairClient, ...]:
        """The clients of the Clairs, nearest first."""
        return self._clients

    @property
    def locations(self) -> list[str]:
        """The locations of the Clairs, nearest first."""
        return [client.location for client in self._clients]

    def seconds(self) -> float:
        """Return the seconds until a Clair may be asked; 0 if one may be asked now."""
        with self._lock:
            return self._seconds(self._monotonic())

    def first(self, operation: Callable[[ClairClient], _Result]) -> _Result:
        """Return the result of an operation with the nearest Clair that is available.

        Args:
            operation: Sends requests to a Clair. It is called again with the next one if it raises
                ScannerUnavailable; other errors are those of all Clairs, and are raised.

        Raises:
            NoClairAvailable: All Clairs are unavailable, or paused because they were.
            ScannerError: A Clair responded with an error.
        """
        for client in self._available():
            try:
                result = operation(client)
            except ScannerUnavailable as error:
                self._failed(client, error)
            except ScannerError:
                self._succeeded(client)
                raise
            else:
                self._succeeded(client)
                return result
        with self._lock:
            raise NoClairAvailable(
                {one.location: self._causes.get(one.location, "") for one in self._clients},
                self._seconds(self._monotonic()),
            )

    def _available(self) -> list[ClairClient]:
        with self._lock:
            now = self._monotonic()
            return [one for one in self._clients if not self._breakers[one.location].seconds(now)]

    def _seconds(self, now: float) -> float:
        return min((breaker.seconds(now) for breaker in self._breakers.values()), default=0.0)

    def _succeeded(self, client: ClairClient) -> None:
        with self._lock:
            self._breakers[client.location].succeeded()
            was_failing = self._causes.pop(client.location, None) is not None
        if was_failing:
            log.info("scanner available", extra={"location": client.location})

    def _failed(self, client: ClairClient, error: ScannerUnavailable) -> None:
        with self._lock:
            self._breakers[client.location].failed(self._monotonic())
            is_new = client.location not in self._causes
            self._causes[client.location] = str(error)
        if is_new:
            log.warning(
                "scanner unavailable",
                extra={
                    "location": client.location,
                    "reason": error.reason,
                    "cause": str(error),
                },
            )


def endpoints_in_order(
    preference: Sequence[str], endpoints: Mapping[str, str], default: str | None
) -> dict[str, str]:
    """Return the URLs of all Clairs by location, nearest first.

    Args:
        preference: The locations, nearest first; the first one is that of the own site.
        endpoints: The URLs by location.
        default: The URL for the own site if `endpoints` does not name it; None if there is none.
    """
    own = preference[0] if preference else ""
    known = dict(endpoints)
    if default is not None:
        known.setdefault(own, default)
    order = [*preference, *(name for name in known if name not in preference)]
    return {name: known[name] for name in order if name in known}
