"""The interface of a store that probes use, in memory."""

from __future__ import annotations

from collections.abc import Callable


class SmallObjects:
    """The small objects of a store in memory.

    Attributes:
        failure: the exception that the next writes raise.
        requests: the requests, in order.
        written: called with the key of each object that was written.
    """

    def __init__(self) -> None:
        self.location = "us"
        self.objects: dict[str, bytes] = {}
        self.failure: Exception | None = None
        self.requests: list[str] = []
        self.written: Callable[[str], None] = lambda _key: None

    def check_bucket(self) -> None:
        self.requests.append("check_bucket")

    def read_small(self, key: str) -> bytes | None:
        self.requests.append("read")
        return self.objects.get(key)

    def name_of(self, key: str) -> str:
        return key

    def write_small(self, key: str, data: bytes, *, new: bool = False) -> None:
        del new
        self.requests.append("write")
        if self.failure is not None:
            raise self.failure
        self.objects[key] = data
        self.written(key)
