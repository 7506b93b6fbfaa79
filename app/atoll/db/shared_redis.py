"""The cache in Redis, shared by all sites. The registry works without Redis, but more slowly.

Errors of Redis are not raised: an unavailable cache returns no values. After a failure, Redis is
not called for a moment, so that a request waits for an unavailable Redis at most once.

A deletion that failed is recorded in PostgreSQL (`lost_deletions`) and repeated by any process. A
process that starts, or whose call to Redis failed, reads no cached value before it has repeated the
recorded deletions.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from atoll import round_trips
from atoll.config.model import RedisSettings
from atoll.db.lost_deletions import BATCH, LostDeletions
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.redis_reads import RedisReads

log = logging.getLogger(__name__)

_TIMEOUT = 0.5
# Seconds for which Redis is not called after a failure.
_RETRY_SECONDS = 2.0
# Seconds without a message on a channel after which the connection is tested.
_LISTEN_SECONDS = 2.0
# Cached values never change; they are only deleted. Their lifetime bounds the memory of Redis, and
# for how long a value is served if a process was killed between the commit that deleted it and the
# call to Redis.
LIFE_SECONDS = 600
# A deleted key holds this marker for longer than a reader can take to cache a value that it read
# before the deletion.
_DELETED = b""
_DELETED_SECONDS = 60
# Failed deletions that are kept in memory while PostgreSQL is unavailable, too.
_UNRECORDED_MAXIMUM = 10_000


class SharedRedis:
    """One Redis, shared by all sites; safe for any thread."""

    def __init__(
        self,
        client: redis.Redis,
        lost_deletions: LostDeletions,
        *,
        read: Callable[[tuple[str, ...]], list[bytes | None]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Provide a Redis.

        Args:
            client: The client.
            lost_deletions: The record of failed deletions.
            read: Returns the values of keys; the client by default.
            monotonic: Returns the time in seconds.
        """
        self._client = client
        self._read = read or client.mget
        self._lost_deletions = lost_deletions
        self._monotonic = monotonic
        self._retry_at = 0.0
        # While these differ, deletions may be outstanding, and cached values are not read.
        self._failures = 0
        self._resolved_failures = -1
        self._unrecorded: dict[str, float] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: RedisSettings, database: Database) -> SharedRedis:
        """Return the Redis that a key of the bundle configures; it connects at first use."""
        tls = {
            name: value
            for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
            if (value := getattr(settings, name)) is not None
        }
        client = redis.Redis(
            host=settings.host,
            port=settings.port,
            db=settings.db,
            username=settings.username,
            password=settings.password.get_secret_value() if settings.password else None,
            ssl=settings.ssl,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            # A failed call is not retried; the next request calls Redis again.
            retry=Retry(NoBackoff(), 0),
            **tls,
        )
        return cls(client, LostDeletions(database), read=RedisReads(client).get)

    def ping(self) -> bool:
        """Return whether Redis responds. For probes, so Redis is called even after a failure."""
        try:
            answer = bool(self._client.ping())
        except redis.RedisError:
            return False
        self._retry_at = 0.0
        return answer

    def resume_reads(self, *, database_available: bool) -> None:
        """Resume reading cached values, after repeating outstanding deletions.

        Args:
            database_available: Whether to repeat the deletions recorded in the database. If it is
                unavailable, cached values are read nevertheless: serving values whose deletion
                failed, for a few minutes, is better than serving none.
        """
        failures = self._failures
        if not self._deletions_outstanding:
            return
        if database_available:
            try:
                self.repeat_lost_deletions()
            except (DatabaseUnavailable, psycopg2.Error) as error:
                log.warning("could not read lost cache deletions", extra={"cause": str(error)})
            else:
                return
        self._resolved_failures = failures

    @property
    def _deletions_outstanding(self) -> bool:
        return self._resolved_failures != self._failures

    def repeat_lost_deletions(self) -> bool:
        """Repeat failed deletions, and return whether all of them succeeded.

        Raises:
            DatabaseUnavailable: The recorded deletions cannot be read.
        """
        failures = self._failures
        with self._lock:
            unrecorded, self._unrecorded = self._unrecorded, {}
        oldest = self._monotonic() - LIFE_SECONDS
        self.delete(*(key for key, moment in unrecorded.items() if moment >= oldest))
        self._lost_deletions.forget_old(LIFE_SECONDS)
        while lost := self._lost_deletions.next(LIFE_SECONDS):
            if not self._mark([key for key, _ in lost]):
                return False
            self._lost_deletions.forget(lost)
        self._resolved_failures = failures
        return True

    def get(self, *keys: str) -> list[bytes | None]:
        """Return the value of each key; None for missing keys."""
        answer = self._attempt(lambda: self._read(keys))
        if answer is None:
            return [None] * len(keys)
        return [value or None for value in answer]

    def get_cached(self, *keys: str) -> list[bytes | None]:
        """Return the cached value of each key; None while deletions may be outstanding."""
        return [None] * len(keys) if self._deletions_outstanding else self.get(*keys)

    def fill(self, key: str, value: bytes) -> None:
        """Cache a value, unless the key has a value or was deleted a moment ago."""
        self._attempt(lambda: self._client.set(key, value, ex=LIFE_SECONDS, nx=True))

    def delete(self, *keys: str) -> None:
        """Delete cached values, and prevent readers from caching older ones again."""
        for start in range(0, len(keys), BATCH):
            batch = list(keys[start : start + BATCH])
            if not self._mark(batch):
                self._record_lost(batch)

    def delete_older(self, key: str) -> None:
        """Delete a value that is older than what the key stands for now, if there is one.

        For something new, no reader can be about to cache an older value. So readers may cache the
        new one at once, and not only after the time for which deleted keys are marked.
        """
        values = self._attempt(lambda: self._read((key,)))
        if values is None or values[0]:
            self.delete(key)

    def _mark(self, keys: list[str]) -> bool:
        """Mark keys as deleted, and return whether Redis accepted it."""

        def mark() -> object:
            pipeline = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.set(key, _DELETED, ex=_DELETED_SECONDS)
            return pipeline.execute()

        return self._attempt(mark) is not None

    def _record_lost(self, keys: list[str]) -> None:
        """Record failed deletions in PostgreSQL, or in memory if that fails."""
        self._failures += 1
        try:
            self._lost_deletions.record(keys)
        except (DatabaseUnavailable, psycopg2.Error) as error:
            log.warning("could not record lost cache deletions", extra={"cause": str(error)})
            with self._lock:
                self._unrecorded.update(dict.fromkeys(keys, self._monotonic()))
                while len(self._unrecorded) > _UNRECORDED_MAXIMUM:
                    del self._unrecorded[next(iter(self._unrecorded))]

    def increment(self, key: str, life_seconds: int) -> None:
        """Increment a counter, which expires `life_seconds` after its first increment."""

        def count() -> object:
            pipeline = self._client.pipeline()
            pipeline.incr(key)
            pipeline.expire(key, life_seconds, nx=True)
            return pipeline.execute()

        self._attempt(count)

    def publish(self, channel: str, message: str) -> None:
        """Publish a hint on a channel; it may be lost."""
        # Errors do not count as failures of the cache: the user may lack the right to publish.
        try:
            self._client.publish(channel, message)
        except redis.RedisError as error:
            log.debug("could not publish hint", extra={"channel": channel, "cause": str(error)})

    def listen(self, channel: str, stop: threading.Event) -> Iterator[str]:
        """Yield the messages of a channel until `stop` is set or the connection breaks."""
        try:
            # The published types of redis-py are incomplete.
            client: Any = self._client
            with client.pubsub(ignore_subscribe_messages=True) as listener:
                listener.subscribe(channel)
                heard = self._monotonic()
                while not stop.is_set() and self._monotonic() - heard < 2 * _LISTEN_SECONDS:
                    message = listener.get_message(timeout=_LISTEN_SECONDS)
                    if message is None:
                        # The response is a message, so a dead connection is detected.
                        listener.ping()
                        continue
                    heard = self._monotonic()
                    if message["type"] == "message":
                        yield message["data"].decode(errors="replace")
        except redis.RedisError as error:
            log.debug("could not listen for hints", extra={"channel": channel, "cause": str(error)})

    def _attempt(self, call: Callable[[], Any]) -> Any:
        if self._monotonic() < self._retry_at:
            return None
        round_trips.count(round_trips.CACHE)
        try:
            return call()
        except redis.RedisError as error:
            self._retry_at = self._monotonic() + _RETRY_SECONDS
            self._failures += 1
            log.warning("redis unavailable", extra={"cause": str(error)})
            return None
