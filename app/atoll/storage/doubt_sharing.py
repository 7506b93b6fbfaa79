"""Share doubts about stores with the other processes of all sites.

Each process probes at times of its own. The first process that finds a store silent publishes its
doubt on a Redis channel, and the others put the store in doubt and probe it at once. The message is
only a hint: each process decides by its own probe, milliseconds later. Without Redis, each process
detects the failure with its next probe.
"""

from __future__ import annotations

import json
import logging
import threading
from uuid import uuid4

from atoll.db.shared_redis import SharedRedis
from atoll.periodic import PeriodicThread, ThreadRegistry
from atoll.storage.health import StoreHealth

log = logging.getLogger(__name__)

CHANNEL = "atoll:store-doubts"
# The cause that is logged for a doubt of another process.
HINT = "doubt of another process"
# Seconds between checks for new doubts of this process, and between attempts to subscribe.
_PUBLISH_SECONDS = 0.1
_RECONNECT_SECONDS = 1.0
# Longer than the time-outs of Redis for all stores.
_SILENCE_SECONDS = 60.0


class DoubtSharing:
    """Publishes the doubts of this process, and applies those of other processes."""

    def __init__(self, redis: SharedRedis, health: StoreHealth, locations: list[str]) -> None:
        self._redis = redis
        self._health = health
        self._doubted = dict.fromkeys(locations, False)
        self._sender = uuid4().hex
        self._stop = threading.Event()
        self._threads: list[PeriodicThread] = []

    def start(self, registry: ThreadRegistry) -> None:
        """Start sharing; the threads end with the process, or some time after `stop`."""
        self._threads = [
            registry.repeat(
                "doubts-publish",
                _PUBLISH_SECONDS,
                self.publish_new,
                silence_seconds=_SILENCE_SECONDS,
            ),
            # Returns only when the connection ends, so its duration has no limit.
            registry.repeat("doubts-listen", _RECONNECT_SECONDS, self._listen),
        ]

    def stop(self) -> None:
        """Stop sharing."""
        for thread in self._threads:
            thread.stop()
        self._stop.set()

    def publish_new(self) -> None:
        """Publish this process's doubts that are new since the last call."""
        for location, doubted in self._doubted.items():
            self._doubted[location] = self._health.has_own_doubt(location)
            if self._doubted[location] and not doubted:
                message = json.dumps({"sender": self._sender, "location": location})
                self._redis.publish(CHANNEL, message)

    def apply(self, message: str) -> None:
        """Put the store in a message in doubt, unless this process sent it."""
        try:
            found = json.loads(message)
            sender, location = str(found["sender"]), str(found["location"])
        except (ValueError, TypeError, KeyError):
            log.warning("invalid message about a store", extra={"store_message": message[:200]})
            return
        if sender != self._sender and location in self._doubted:
            self._health.doubt(location, HINT, hint=True)

    def _listen(self) -> None:
        for message in self._redis.listen(CHANNEL, self._stop):
            self.apply(message)
