"""The shared Redis: a cache. Without Redis everything works, more slowly.

Callers see no Redis error: a cache that cannot be asked has no answer. After a failure Redis is not
asked for a moment, so that a request waits for an unavailable Redis at most once.

A deletion that Redis did not take is kept in PostgreSQL (`lost_deletions`), and passed on by any
process. A process that starts, or that Redis did not answer, reads no cached value before it has
passed on the deletions that are kept there.
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

log = logging.getLogger(__name__)

_TIMEOUT = 0.5
_REST_SECONDS = 2.0
# Seconds of silence on a channel after which the connection is tested.
_LISTEN_SECONDS = 2.0
# What is cached is immutable but for its deletion, which is passed on. The life bounds the memory
# of Redis, and for how long a value is served whose deletion was lost with a process that was
# killed between its commit and the call to Redis.
LIFE_SECONDS = 600
# A deleted key keeps a mark for longer than any reader may need to store what it read before.
_DELETED = b""
_DELETED_SECONDS = 60
# Deletions in memory while neither Redis nor PostgreSQL takes them.
_UNKEPT_MAXIMUM = 10_000


class SharedRedis:
    """One Redis, shared by all sites; safe for any thread."""

    def __init__(
        self,
        client: redis.Redis,
        lost_deletions: LostDeletions,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._lost_deletions = lost_deletions
        self._monotonic = monotonic
        self._resting_until = 0.0
        # Cached values are in doubt, for deletions may be owed, while these differ.
        self._failures = 0
        self._settled_failures = -1
        self._unkept: dict[str, float] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: RedisSettings, database: Database) -> SharedRedis:
        """Return the Redis that a key of the bundle names. Connects at first use."""
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
            # One try: the next request is the retry.
            retry=Retry(NoBackoff(), 0),
            **tls,
        )
        return cls(client, LostDeletions(database))

    def ping(self) -> bool:
        """Return whether Redis answers; for the prober, so it asks even a resting one."""
        try:
            answer = bool(self._client.ping())
        except redis.RedisError:
            return False
        self._resting_until = 0.0
        return answer

    def settle(self, *, ask: bool) -> None:
        """Read cached values again, after passing on lost deletions if some may be owed.

        Without ASK the database is not asked, for it is unavailable: then values may be served for
        a few minutes whose deletion was lost before, rather than none at all.
        """
        failures = self._failures
        if not self._doubted:
            return
        if ask:
            try:
                self.repeat_lost_deletions()
            except (DatabaseUnavailable, psycopg2.Error) as error:
                log.warning("lost cache deletions not read", extra={"cause": str(error)})
            else:
                return
        self._settled_failures = failures

    @property
    def _doubted(self) -> bool:
        return self._settled_failures != self._failures

    def repeat_lost_deletions(self) -> bool:
        """Pass on the deletions that Redis did not take; return whether it took all of them.

        Raises DatabaseUnavailable.
        """
        failures = self._failures
        with self._lock:
            unkept, self._unkept = self._unkept, {}
        oldest = self._monotonic() - LIFE_SECONDS
        self.delete(*(key for key, moment in unkept.items() if moment >= oldest))
        self._lost_deletions.forget_old(LIFE_SECONDS)
        while lost := self._lost_deletions.next(LIFE_SECONDS):
            if not self._mark([key for key, _ in lost]):
                return False
            self._lost_deletions.forget(lost)
        self._settled_failures = failures
        return True

    def get(self, *keys: str) -> list[bytes | None]:
        """Return the value of each key, or None."""
        answer = self._attempt(lambda: self._client.mget(keys))
        if answer is None:
            return [None] * len(keys)
        return [value or None for value in answer]

    def get_cached(self, *keys: str) -> list[bytes | None]:
        """Return what is cached under each key, or None; None while deletions may be owed."""
        return [None] * len(keys) if self._doubted else self.get(*keys)

    def fill(self, key: str, value: bytes) -> None:
        """Cache VALUE, unless the key is held or was deleted a moment ago."""
        self._attempt(lambda: self._client.set(key, value, ex=LIFE_SECONDS, nx=True))

    def delete(self, *keys: str) -> None:
        """Let nobody read what was cached under KEYS, nor store what was read before now."""
        for start in range(0, len(keys), BATCH):
            some = list(keys[start : start + BATCH])
            if not self._mark(some):
                self._keep(some)

    def _mark(self, keys: list[str]) -> bool:
        """Mark KEYS as deleted; return whether Redis did."""

        def mark() -> object:
            pipeline = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.set(key, _DELETED, ex=_DELETED_SECONDS)
            return pipeline.execute()

        return self._attempt(mark) is not None

    def _keep(self, keys: list[str]) -> None:
        """Keep deletions that Redis did not take; in memory if PostgreSQL does not, either."""
        self._failures += 1
        try:
            self._lost_deletions.keep(keys)
        except (DatabaseUnavailable, psycopg2.Error) as error:
            log.warning("lost cache deletions not kept", extra={"cause": str(error)})
            with self._lock:
                self._unkept.update(dict.fromkeys(keys, self._monotonic()))
                while len(self._unkept) > _UNKEPT_MAXIMUM:
                    del self._unkept[next(iter(self._unkept))]

    def increment(self, key: str, life_seconds: int) -> None:
        """Count one more under KEY; the count goes LIFE_SECONDS after its first."""

        def count() -> object:
            pipeline = self._client.pipeline()
            pipeline.incr(key)
            pipeline.expire(key, life_seconds, nx=True)
            return pipeline.execute()

        self._attempt(count)

    def publish(self, channel: str, message: str) -> None:
        """Send a hint to the listeners of CHANNEL; it may be lost."""
        # A user without the right to publish must not make the cache rest.
        try:
            self._client.publish(channel, message)
        except redis.RedisError as error:
            log.debug("hint not published", extra={"channel": channel, "cause": str(error)})

    def listen(self, channel: str, stop: threading.Event) -> Iterator[str]:
        """Yield the messages of CHANNEL until STOP is set or the connection breaks, silently."""
        try:
            # Its published types are incomplete.
            client: Any = self._client
            with client.pubsub(ignore_subscribe_messages=True) as listener:
                listener.subscribe(channel)
                heard = self._monotonic()
                while not stop.is_set() and self._monotonic() - heard < 2 * _LISTEN_SECONDS:
                    message = listener.get_message(timeout=_LISTEN_SECONDS)
                    if message is None:
                        # The answer proves that the connection is not just silent.
                        listener.ping()
                        continue
                    heard = self._monotonic()
                    if message["type"] == "message":
                        yield message["data"].decode(errors="replace")
        except redis.RedisError as error:
            log.debug("hints not heard", extra={"channel": channel, "cause": str(error)})

    def _attempt(self, call: Callable[[], Any]) -> Any:
        if self._monotonic() < self._resting_until:
            return None
        round_trips.count(round_trips.CACHE)
        try:
            return call()
        except redis.RedisError as error:
            self._resting_until = self._monotonic() + _REST_SECONDS
            self._failures += 1
            log.warning("redis unavailable", extra={"cause": str(error)})
            return None
