"""A fresh login lasts ten minutes, and only for its session and password."""

from __future__ import annotations

from typing import Any

import falcon
import falcon.testing
import pytest
from atoll.auth.sessions import Session, Sessions
from atoll.web.api.errors import FreshLoginRequired, InsufficientScope
from atoll.web.panel.fresh_login import COOKIE, LIFE_SECONDS, FreshLogin

from .clock import Clock

SESSION = Session("token", "ann", "mark")


class Login:
    """Knows one password."""

    def begin(self, req: falcon.Request, username: str, password: str) -> Session:
        del req
        if (username, password) != ("ann", "right"):
            raise InsufficientScope
        return Sessions(b"k" * 32).begin(username)


class Fixture:
    def __init__(self) -> None:
        login: Any = Login()
        self.clock = Clock()
        self.fresh = FreshLogin(b"k" * 32, login, https=True, clock=self.clock)
        self.cookie = ""

    def request(self) -> falcon.Request:
        return falcon.testing.create_req(headers={"Cookie": f"{COOKIE}={self.cookie}"})

    def require(self, password: str | None, session: Session = SESSION) -> None:
        resp = falcon.Response()
        self.fresh.require(self.request(), resp, session, password)
        cookies = dict(resp._wsgi_headers())
        if "set-cookie" in cookies:
            self.header = cookies["set-cookie"]
            self.cookie = self.header.partition(";")[0].partition("=")[2]

    def is_fresh(self, session: Session = SESSION) -> bool:
        return self.fresh.is_fresh(self.request(), session)


@pytest.fixture
def login() -> Fixture:
    return Fixture()


@pytest.mark.parametrize("password", [None, "", "wrong"])
def test_a_missing_or_wrong_password_is_refused(login: Fixture, password: str | None) -> None:
    with pytest.raises(FreshLoginRequired):
        login.require(password)
    assert not login.is_fresh()


def test_a_password_is_valid_for_ten_minutes(login: Fixture) -> None:
    login.require("right")
    login.clock.now += LIFE_SECONDS - 1
    login.require(None)
    assert login.is_fresh()
    login.clock.now += 1
    with pytest.raises(FreshLoginRequired):
        login.require(None)


@pytest.mark.parametrize(
    "session",
    [
        Session("token of another session", "ann", "mark"),
        Session("token", "bob", "mark"),
        Session("token", "ann", "mark of another password"),
        Session("token"),
    ],
)
def test_it_is_bound_to_the_session_the_user_and_the_password(
    login: Fixture, session: Session
) -> None:
    login.require("right")
    assert not login.is_fresh(session)


def test_a_cookie_that_another_key_signed_is_refused(login: Fixture) -> None:
    login.require("right")
    other: Any = Login()
    assert not FreshLogin(b"o" * 32, other, https=True).is_fresh(login.request(), SESSION)


def test_the_cookie_is_not_for_scripts_or_other_sites(login: Fixture) -> None:
    login.require("right")
    for attribute in ("HttpOnly", "SameSite=Strict", "Secure", "Max-Age=600"):
        assert attribute in login.header
