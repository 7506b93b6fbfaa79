"""Accounts, sessions and API tokens at a running image, for the tests of this package."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import requests

from ..image.running import RunningImage


@dataclass(frozen=True)
class Account:
    """A user of the registry."""

    image: RunningImage
    username: str
    password: str

    def request(self, method: str, path: str, **arguments: object) -> requests.Response:
        """Send a request with HTTP Basic, as `curl -u` does."""
        session = self.image.session()
        session.auth = (self.username, self.password)
        return session.request(  # type: ignore[call-overload, no-any-return]
            method, f"{self.image.tls_url}{path}", allow_redirects=False, **arguments
        )

    def sign_in(self) -> requests.Session:
        """Return a session that has a cookie and sends its CSRF token."""
        session = self.image.session()
        url = self.image.tls_url
        token = session.get(f"{url}/csrf_token").json()["csrf_token"]
        answer = session.post(
            f"{url}/api/v1/signin",
            json={"username": self.username, "password": self.password},
            headers={"X-CSRF-Token": token},
        )
        assert answer.status_code == 200, answer.text
        session.headers["X-CSRF-Token"] = answer.headers["X-Next-CSRF-Token"]
        return session

    def create_organization(self) -> str:
        """Create an organization and return its name."""
        name = unique("org")
        answer = self.request("POST", "/api/v1/organization/", json={"name": name})
        assert answer.status_code == 201, answer.text
        return name

    def create_application(self, organization: str, redirect_uri: str = "") -> str:
        """Create an OAuth application and return its client ID."""
        answer = self.request(
            "POST",
            f"/api/v1/organization/{organization}/applications",
            json={"name": unique("app"), "redirect_uri": redirect_uri},
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["client_id"])

    def api_token(self, *scopes: str) -> str:
        """Return a new API token with the given scopes."""
        words = [word for scope in scopes for word in ("--scope", scope)]
        answer = self.image.run("atoll", "token", "create", self.username, *words)
        assert answer.returncode == 0, answer.stdout
        return answer.stdout.split()[-1]


def superuser(image: RunningImage) -> Account:
    return Account(image, image.username, image.password)


def new_account(image: RunningImage) -> Account:
    """Create a user without any rights."""
    account = Account(image, unique("user"), "correct horse battery staple")
    answer = superuser(image).request(
        "POST",
        "/api/v1/superuser/users/",
        json={"username": account.username, "password": account.password},
    )
    assert answer.status_code == 200, answer.text
    return account


def unique(prefix: str) -> str:
    """Return a unique name."""
    return f"{prefix}{uuid.uuid4().hex[:12]}"
