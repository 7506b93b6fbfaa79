"""Open pages that are current are answered without an authentication, for half a minute."""

from __future__ import annotations

import falcon
import falcon.testing
import pytest
from atoll.web.api.cookies import COOKIE
from atoll.web.panel.live import LiveVersions, version_of
from atoll.web.panel.polls import Polls


class Time:
    """A clock whose time tests set, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def polls(time: Time) -> Polls:
    return Polls(monotonic=time)


def request(
    version: str | None = "v1", cookie: str = "ann", path: str = "/superuser", method: str = "GET"
) -> falcon.Request:
    headers = {} if version is None else {"If-None-Match": f'"{version}"'}
    return falcon.testing.create_req(
        path=path, method=method, headers={**headers, "Cookie": f"{COOKIE}={cookie}"}
    )


def answered(polls: Polls, req: falcon.Request) -> bool:
    resp = falcon.Response()
    done = polls.answer(req, resp)
    assert (resp.status == falcon.HTTP_NOT_MODIFIED) is done
    return done


def test_a_current_page_is_answered_and_a_changed_one_is_not(polls: Polls) -> None:
    version = ["v1"]
    assert polls.remember(request(None), "v1", lambda: version[0]) == '"v1"'
    assert answered(polls, request())
    version[0] = "v2"
    assert not answered(polls, request())


def test_other_sessions_pages_versions_and_methods_are_authenticated(polls: Polls) -> None:
    polls.remember(request(None), "v1", lambda: "v1")
    for other in (
        request(cookie="bob"),
        request(path="/"),
        request("v0"),
        request(None),
        request(method="POST"),
    ):
        assert not answered(polls, other)


def test_a_session_is_authenticated_again_after_half_a_minute(polls: Polls, time: Time) -> None:
    polls.remember(request(None), "v1", lambda: "v1")
    time.now = 29.0
    assert answered(polls, request())
    time.now = 31.0
    assert not answered(polls, request())


def test_closed_pages_and_the_oldest_of_many_are_forgotten(polls: Polls, time: Time) -> None:
    polls.remember(request(None, "first"), "v1", lambda: "v1")
    time.now = 10.0
    for one in range(1000):
        polls.remember(request(None, f"s{one}"), "v1", lambda: "v1")
    assert not answered(polls, request(cookie="first"))
    assert answered(polls, request(cookie="s0"))
    time.now = 50.0
    polls.remember(request(None), "v1", lambda: "v1")
    assert len(polls._polls) == 1


def test_the_version_of_a_report_is_computed_once_and_depends_on_what_is_shown() -> None:
    shown: list[dict[str, int]] = []

    def show(report: dict[str, int]) -> dict[str, int]:
        shown.append(report)
        return {"a": report["a"]}

    versions = LiveVersions(show)
    report = {"a": 1, "b": 1}
    first = versions.of(report)
    assert versions.of(report) == first
    assert len(shown) == 1
    assert versions.of({"a": 1, "b": 2}) == first
    assert versions.of({"a": 2, "b": 1}) != first
    assert version_of({"x": 1, "y": 2}) == version_of({"y": 2, "x": 1})
