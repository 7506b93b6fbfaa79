"""A Redis server in memory whose clients can be disconnected individually."""

from __future__ import annotations

import redis


class MemoryRedis:
    """The values of a Redis server that processes share; they do not expire."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.pipelines: list[int] = []

    def expire_marks(self) -> None:
        """Expire the marks that prevent caching of a deleted key."""
        self.values = {key: value for key, value in self.values.items() if value}


class MemoryClient:
    """A process's client of a MemoryRedis; it raises a ConnectionError while `down` is set."""

    def __init__(self, server: MemoryRedis) -> None:
        self.server = server
        self.down = False

    def _require_up(self) -> None:
        if self.down:
            raise redis.ConnectionError("down")

    def ping(self) -> bool:
        self._require_up()
        return True

    def mget(self, keys: tuple[str, ...]) -> list[bytes | None]:
        self._require_up()
        return [self.server.values.get(key) for key in keys]

    def set(self, key: str, value: bytes, *, ex: int, nx: bool = False) -> None:
        del ex
        self._require_up()
        if not nx or key not in self.server.values:
            self.server.values[key] = value

    def pipeline(self, *, transaction: bool) -> MemoryPipeline:
        del transaction
        return MemoryPipeline(self)


class MemoryPipeline:
    """Collects SET commands."""

    def __init__(self, client: MemoryClient) -> None:
        self._client = client
        self._commands: list[tuple[str, bytes, int]] = []

    def set(self, key: str, value: bytes, *, ex: int) -> None:
        self._commands.append((key, value, ex))

    def execute(self) -> list[None]:
        for key, value, ex in self._commands:
            self._client.set(key, value, ex=ex)
        self._client.server.pipelines.append(len(self._commands))
        return [None] * len(self._commands)
