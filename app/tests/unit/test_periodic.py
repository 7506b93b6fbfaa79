"""Periodic threads survive exceptions, stop on request, and are reported if they die or hang."""

from __future__ import annotations

import threading

import pytest
from atoll.db.pool import DatabaseUnavailable
from atoll.periodic import FAILURES, LAST_SUCCESS, ThreadRegistry
from atoll.storage.errors import NoHealthyStore, StoreUnavailable

from ..integration.services import wait_until


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (DatabaseUnavailable("refused"), "database unavailable"),
        (StoreUnavailable("us", "refused"), "store unavailable"),
        (NoHealthyStore(["us"]), "store unavailable"),
        (ValueError("a bug"), "unhandled exception"),
    ],
)
def test_work_is_repeated_after_an_exception(
    error: Exception, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    registry, repeated, calls = ThreadRegistry(), threading.Event(), []

    def work() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise error
        repeated.set()

    thread = registry.repeat("test", 0.001, work)
    assert repeated.wait(60)
    thread.stop()
    thread.join()
    (record,) = caplog.records
    assert (record.message, record.activity) == (event, "test")  # type: ignore[attr-defined]
    assert bool(record.exc_info) is (event == "unhandled exception")


def test_work_that_reports_more_is_repeated_without_a_pause() -> None:
    registry, pauses = ThreadRegistry(), []
    paused, release = threading.Event(), threading.Event()
    results = iter([True, True, None])

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        paused.set()
        release.wait()

    thread = registry.repeat("test", 30, lambda: next(results), pause=pause)
    assert paused.wait(60)
    thread.stop()
    release.set()
    thread.join()
    assert pauses == [30]
    assert list(results) == []


def test_stopped_thread_ends_and_is_not_reported() -> None:
    registry, calls = ThreadRegistry(), []
    thread = registry.repeat("test", 0, lambda: calls.append(1))
    wait_until("the work was done", lambda: len(calls) > 0)
    thread.stop()
    thread.join()
    assert registry.silent() == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_dead_thread_is_reported() -> None:
    registry = ThreadRegistry()

    def end() -> None:
        # The only exception that a periodic thread does not survive.
        raise SystemExit

    registry.repeat("test", 0, end)
    wait_until("it is reported", lambda: registry.silent() == ["test"])


def test_hanging_thread_is_reported_until_it_continues() -> None:
    clock, started, release = [0.0], threading.Event(), threading.Event()
    registry = ThreadRegistry(lambda: clock[0])

    def hang() -> None:
        started.set()
        release.wait()

    thread = registry.repeat("test", 3600, hang, silence_seconds=10)
    assert started.wait(60)
    clock[0] += 9
    assert registry.silent() == []
    clock[0] += 2
    assert registry.silent() == ["test"]
    release.set()
    wait_until("it has recovered", lambda: registry.silent() == [])
    clock[0] += 3600
    assert registry.silent() == [], "a pause is not a hang"
    thread.stop()


def test_only_successful_work_updates_the_time_of_the_last_success() -> None:
    registry, calls = ThreadRegistry(), []

    def fail() -> None:
        calls.append(1)
        raise ValueError

    failing = registry.repeat("test-failing", 0.001, fail)
    succeeding = registry.repeat("test-succeeding", 0.001, lambda: None)

    def last(name: str) -> float:
        return float(LAST_SUCCESS.labels(name)._value.get())

    wait_until("one has succeeded", lambda: last("test-succeeding") > 0)
    wait_until("the other activity is repeated", lambda: len(calls) > 1)
    assert last("test-failing") == 0
    failures = {
        name: FAILURES.labels(name)._value.get() for name in ("test-failing", "test-succeeding")
    }
    assert failures["test-failing"] >= 1
    assert failures["test-succeeding"] == 0
    for thread in (failing, succeeding):
        thread.stop()
