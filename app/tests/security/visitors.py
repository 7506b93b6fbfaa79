"""Users of a running image and their requests, each from a different address."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import jwt
import requests

from ..image.running import RunningImage

PASSWORD = "a password of the tests"
Auth = tuple[str, str] | str | None


def _addresses() -> Iterator[str]:
    for number in itertools.count(1):
        yield f"198.18.{number // 250}.{number % 250 + 1}"


_free = _addresses()
# Failures are counted in Redis, which other containers of the same run share.
_RUN = uuid.uuid4().hex[:8]


def new_name(prefix: str) -> str:
    """Return a user name that no other test uses."""
    return f"{prefix}{_RUN}{uuid.uuid4().hex[:6]}"


@dataclass
class Visitor:
    """A client at one address, for an image whose bundle trusts X-Forwarded-For."""

    image: RunningImage
    address: str = field(default_factory=lambda: next(_free))

    def request(self, method: str, path: str, auth: Auth = None, **more: object) -> int:
        """Return the status of a request; `auth` is a pair for Basic, or a bearer token."""
        return self.send(method, path, auth, **more).status_code

    def send(self, method: str, path: str, auth: Auth = None, **more: object) -> requests.Response:
        """Send a request and return the response, without following redirects."""
        headers = {"X-Forwarded-For": self.address, **dict(more.pop("headers", {}))}  # type: ignore[call-overload]
        if isinstance(auth, str):
            headers["Authorization"] = f"Bearer {auth}"
        session = more.pop("session", None) or self.image.session()
        return session.request(  # type: ignore[attr-defined, no-any-return]
            method,
            f"{self.image.url}{path}",
            headers=headers,
            auth=auth if isinstance(auth, tuple) else None,
            allow_redirects=False,
            **more,
        )

    def registry_token(self, auth: Auth, scope: str = "") -> requests.Response:
        """Request a token of the registry."""
        return self.send("GET", "/v2/auth", auth, params={"scope": scope} if scope else {})

    def actions(self, auth: Auth, repository: str) -> list[str]:
        """Return the actions that a new token allows on a repository."""
        answer = self.registry_token(auth, f"repository:{repository}:pull,push")
        assert answer.status_code == 200, answer.text
        claims = jwt.decode(answer.json()["token"], options={"verify_signature": False})
        return sorted(action for entry in claims["access"] for action in entry["actions"])

    def sign_in(self, username: str, password: str = PASSWORD) -> requests.Session:
        """Return a session of a user, as a browser has it."""
        session = self.image.session()
        shown = self.send("GET", "/csrf_token", session=session).json()["csrf_token"]
        answer = self.send(
            "POST",
            "/api/v1/signin",
            session=session,
            json={"username": username, "password": password},
            headers={"X-CSRF-Token": shown},
        )
        assert answer.status_code == 200, answer.text
        session.headers["X-CSRF-Token"] = answer.headers["X-Next-CSRF-Token"]
        return session


def superuser(image: RunningImage) -> tuple[str, str]:
    """Return the Basic credentials of the first superuser."""
    return image.username, image.password


def create_user(image: RunningImage, prefix: str = "user", password: str = PASSWORD) -> str:
    """Create a user as a superuser and return the name."""
    name = new_name(prefix)
    answer = Visitor(image).send(
        "POST",
        "/api/v1/superuser/users/",
        superuser(image),
        json={"username": name, "password": password},
    )
    assert answer.status_code == 200, answer.text
    return name


def app_token(visitor: Visitor, auth: tuple[str, str]) -> tuple[str, str]:
    """Create an app-specific token and return its Basic credentials."""
    answer = visitor.send("POST", "/api/v1/user/apptoken", auth, json={"title": "laptop"})
    assert answer.status_code == 200, answer.text
    return "$app", answer.json()["token"]["token_code"]


def oauth_token(visitor: Visitor, username: str, scopes: str) -> str:
    """Return an OAuth token, created on the command line."""
    words = [word for scope in scopes.split() for word in ("--scope", scope)]
    made = visitor.image.run("atoll", "token", "create", username, *words)
    assert made.returncode == 0, made.stdout
    return made.stdout.split()[-1]
