"""The shared Redis: a cache. With Redis gone everything works, slower.

No caller sees a Redis error: a cache that cannot be asked has no answer. After a failure Redis is
left alone for a moment, so that a request pays for a dead Redis at most once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from atoll import trips
from atoll.config.model import RedisSettings

log = logging.getLogger(__name__)

_TIMEOUT = 0.5
_REST_SECONDS = 2.0
# Seconds of silence on a channel after which the connection is tested.
_LISTEN_SECONDS = 2.0
# What is cached is immutable but for deletion, which is told; the life only bounds Redis' memory.
_LIFE_SECONDS = 3600
# A deleted key keeps a mark for longer than any reader may need to store what it read before.
_DELETED = b""
_DELETED_SECONDS = 60


class SharedRedis:
    """One Redis, shared by all sites; safe for any thread."""

    def __init__(
        self, client: redis.Redis, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._monotonic = monotonic
        self._resting_until = 0.0
        self._lost: set[str] = set()
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: RedisSettings) -> SharedRedis:
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
        return cls(client)

    def ping(self) -> bool:
        """Tell whether Redis answers; for the prober, so it asks even a resting one."""
        try:
            answer = bool(self._client.ping())
        except redis.RedisError:
            return False
        self._resting_until = 0.0
        self._repeat_lost_deletions()
        return answer

    def get(self, *keys: str) -> list[bytes | None]:
        """Return what is cached under each key; None for what is not."""
        answer = self._attempt(lambda: self._client.mget(keys))
        if answer is None:
            return [None] * len(keys)
        return [value or None for value in answer]

    def fill(self, key: str, value: bytes) -> None:
        """Cache VALUE, unless the key is held or was deleted a moment ago."""
        self._attempt(lambda: self._client.set(key, value, ex=_LIFE_SECONDS, nx=True))

    def delete(self, *keys: str) -> None:
        """Let nobody read what was cached under KEYS, nor store what was read before now."""

        def mark() -> object:
            pipeline = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.set(key, _DELETED, ex=_DELETED_SECONDS)
            return pipeline.execute()

        if self._attempt(mark) is None:
            with self._lock:
                self._lost.update(keys)

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
        trips.count(trips.CACHE)
        try:
            return call()
        except redis.RedisError as error:
            self._resting_until = self._monotonic() + _REST_SECONDS
            log.warning("Redis does not answer; going on without it", extra={"cause": str(error)})
            return None

    def _repeat_lost_deletions(self) -> None:
        """Delete what could not be deleted while Redis was away."""
        with self._lock:
            lost, self._lost = self._lost, set()
        if lost:
            self.delete(*lost)
