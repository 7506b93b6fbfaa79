"""The access log has the format of all other lines, and loses none at a graceful stop."""

from __future__ import annotations

import io
import json
import logging
import threading
from contextlib import redirect_stderr
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import pytest
from atoll import logs
from atoll.logs import JsonFormatter
from atoll.periodic import ThreadRegistry
from atoll.web import access_log as module
from atoll.web.access_log import Access, AccessLog
from hypothesis import given
from hypothesis import strategies as st

PIPE_BUF = 4096


def access(number: int = 0, path: str = "/v2/") -> Access:
    return Access(f"{number:032x}", "GET", path, 200, 0.3, "10.0.0.1")


class Stream(io.StringIO):
    """Standard error that records each write."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return super().write(text)

    @property
    def requests(self) -> list[str]:
        return [json.loads(line)["request"] for line in self.getvalue().splitlines()]


@given(
    st.builds(
        Access,
        request=st.text(max_size=20),
        method=st.sampled_from(["GET", "HEAD", "other"]),
        path=st.text(max_size=512),
        status=st.integers(100, 599),
        milliseconds=st.floats(0, 1e6).map(lambda one: round(one, 1)),
        client=st.text(max_size=50),
    ),
    st.floats(0, 4e9),
)
def test_a_line_is_what_the_formatter_of_all_other_lines_writes(one: Access, now: float) -> None:
    record = logging.makeLogRecord(
        {
            "name": "atoll.access",
            "levelname": "INFO",
            "msg": "request",
            "created": now,
            **asdict(one),
        }
    )
    line = AccessLog(clock=lambda: now)._line(one)
    expected = json.loads(JsonFormatter().format(record))
    found = json.loads(line)
    # The formatter rounds to microseconds before it cuts the rest off.
    assert abs(_milliseconds(found.pop("time")) - _milliseconds(expected.pop("time"))) <= 1
    assert list(found.items()) == list(expected.items())
    assert line.isascii()
    assert line.count("\n") == 1


def _milliseconds(text: str) -> int:
    assert len(text) == len("2026-01-01T00:00:00.000+00:00")
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def test_without_a_thread_each_line_is_written_at_once() -> None:
    with redirect_stderr(stream := Stream()):
        AccessLog().note(access(1))
    assert stream.requests == [access(1).request]


def test_a_stop_writes_each_line_once_in_the_order_of_its_thread() -> None:
    log = AccessLog()
    count, threads = 500, 4

    def serve(first: int) -> None:
        for number in range(first, first + count):
            log.note(access(number))

    workers = [threading.Thread(target=serve, args=(one * count,)) for one in range(threads)]
    with redirect_stderr(stream := Stream()):
        log.start(ThreadRegistry())
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        log.stop()
        # The responses of requests that were in progress.
        log.note(access(threads * count))
    numbers = [int(request, 16) for request in stream.requests]
    assert sorted(numbers) == list(range(threads * count + 1))
    for one in range(threads):
        own = [number for number in numbers if number // count == one]
        assert own == sorted(own)


def test_lines_wait_together_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WRITE_SECONDS", 3600)
    monkeypatch.setattr(module, "_WAITING_MAXIMUM", 10)
    log = AccessLog()
    with redirect_stderr(stream := Stream()):
        log.start(ThreadRegistry())
        for number in range(10):
            log.note(access(number))
        assert stream.requests == []
        log.note(access(10))
        assert len(stream.requests) == 11
        log.stop()


@given(st.lists(st.integers(1, 2 * PIPE_BUF), max_size=50))
def test_each_write_has_complete_lines_and_is_atomic_if_it_has_several(lengths: list[int]) -> None:
    stream = Stream()
    lines = ["x" * (length - 1) + "\n" for length in lengths]
    with redirect_stderr(stream):
        logs.write_lines(lines)
    assert stream.getvalue() == "".join(lines)
    for piece in stream.pieces:
        assert piece.endswith("\n")
        assert len(piece) <= PIPE_BUF or piece.count("\n") == 1


def test_a_request_is_served_although_its_line_cannot_be_written() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        broken = io.TextIOWrapper(full, write_through=True)
        with redirect_stderr(broken):
            AccessLog().note(access())
        broken.detach()
    closed = io.StringIO()
    closed.close()
    with redirect_stderr(closed):
        AccessLog().note(access())
