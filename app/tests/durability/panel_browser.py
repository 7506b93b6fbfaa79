"""Requests to the panel of a site in memory, as a browser without JavaScript sends them."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urlencode

import falcon.testing
from atoll.web.app import create_app

from .api_client import PASSWORD
from .sites import MemorySite

_FORM = "application/x-www-form-urlencoded"
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
_TRIPS = re.compile(r'database;desc="(\d+) round trips"')


class PanelBrowser:
    """A browser with its cookies."""

    def __init__(self, site: MemorySite, username: str | None = None) -> None:
        """Open a browser.

        Args:
            site: The site.
            username: The user to sign in; None for an anonymous visitor.
        """
        self._client = falcon.testing.TestClient(create_app(site.graph.dependencies()))
        self.cookies: dict[str, str] = {}
        if username is not None:
            answer = self.sign_in(username)
            assert answer.status_code == 303, answer.text

    def get(self, path: str, *, status: int = 200) -> falcon.testing.Result:
        """Open a page, check the status and return the response."""
        answer = self.request("GET", path)
        assert answer.status_code == status, answer.text
        return answer

    def text(self, path: str, *, status: int = 200) -> str:
        """Open a page and return its HTML without escapes."""
        return unescape(self.get(path, status=status).text)

    def token(self, path: str = "/signin/") -> str:
        """Open a page and return the CSRF token of its forms."""
        found = _TOKEN.search(self.get(path).text)
        assert found is not None, f"{path} has no form"
        return found[1]

    def send(
        self,
        path: str,
        fields: dict[str, str],
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> falcon.testing.Result:
        """Send a form as it is and return the response; `token` is its CSRF token."""
        form = fields if token is None else {"csrf_token": token, **fields}
        return self.request(
            "POST", path, body=urlencode(form), headers={"Content-Type": _FORM, **(headers or {})}
        )

    def submit(self, path: str, fields: dict[str, str], *, page: str | None = None) -> str:
        """Send a form of a page and return the address that the response redirects to."""
        answer = self.send(path, fields, token=self.token(page or path))
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def sign_in(
        self, username: str, password: str = PASSWORD, after: str = "/"
    ) -> falcon.testing.Result:
        """Send the form of the sign-in page."""
        fields = {"username": username, "password": password, "next": after}
        return self.send("/signin/", fields, token=self.token())

    def request(self, method: str, path: str, **request: object) -> falcon.testing.Result:
        """Send a request with the cookies and return the response."""
        answer = self._client.simulate_request(method, path, cookies=self.cookies, **request)
        for name, cookie in answer.cookies.items():
            if cookie.value:
                self.cookies[name] = cookie.value
            else:
                self.cookies.pop(name, None)
        return answer


def statements(answer: falcon.testing.Result) -> int:
    """Return the statements that a page cost, as its header Server-Timing reports."""
    found = _TRIPS.search(answer.headers["server-timing"])
    return int(found[1]) if found else 0


def poll(browser: PanelBrowser, path: str, version: str) -> falcon.testing.Result:
    """Request a page as its live part does."""
    headers = {"HX-Request": "true", "If-None-Match": version}
    return browser.request("GET", path, headers=headers)
