from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import NoReturn

import pytest
from atoll.web.spool import SpooledRequest
from waitress.adjustments import Adjustments

MEBIBYTE = 2**20


def disk(monkeypatch: pytest.MonkeyPatch, *, size: int, free: int) -> None:
    answer = SimpleNamespace(f_frsize=1, f_blocks=size, f_bavail=free)
    monkeypatch.setattr(os, "statvfs", lambda _path: answer)


def request(size: int) -> SpooledRequest:
    begun = SpooledRequest(Adjustments(max_request_body_size=2**40))
    begun.received(f"PATCH / HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode())
    return begun


def test_a_body_that_fits_is_received(monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, size=100 * MEBIBYTE, free=50 * MEBIBYTE)
    begun = request(MEBIBYTE)
    begun.received(bytes(MEBIBYTE))
    assert begun.completed
    assert begun.error is None


def test_a_body_for_which_there_is_no_room_is_refused_before_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk(monkeypatch, size=100 * MEBIBYTE, free=50 * MEBIBYTE)
    begun = request(49 * MEBIBYTE)
    assert begun.completed
    status, headers, body = begun.error.to_response()
    assert status.startswith("503")
    assert int(dict(headers)["Retry-After"]) > 0
    assert json.loads(body)["errors"][0]["code"] == "UNAVAILABLE"


def test_a_small_body_is_received_however_full_the_disk_is(monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, size=100 * MEBIBYTE, free=0)
    begun = request(1000)
    begun.received(bytes(1000))
    assert begun.completed
    assert begun.error is None


def test_a_disk_that_fills_up_meanwhile_ends_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, size=100 * MEBIBYTE, free=50 * MEBIBYTE)
    begun = request(10 * MEBIBYTE)
    begun.received(bytes(MEBIBYTE))
    assert not begun.completed

    def full(*_arguments: object, **_more: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(begun.body_rcv.getbuf(), "append", full)
    assert begun.received(bytes(MEBIBYTE)) == MEBIBYTE
    assert begun.completed
    assert begun.error.code == 503


def test_a_body_of_unknown_length_leaves_the_reserve_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = SpooledRequest(Adjustments())
    begun.received(b"PATCH / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    disk(monkeypatch, size=100 * MEBIBYTE, free=MEBIBYTE)
    begun.received(b"100000\r\n" + bytes(MEBIBYTE) + b"\r\n")
    assert begun.completed
    assert begun.error.code == 503
