"""Users of a running image who keep using their tokens."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from urllib.parse import urljoin

import jwt
import requests

from ..image.protocol import IMAGE_TYPE, encode, sha256
from ..image.running import RunningImage


def unique(prefix: str) -> str:
    """Return a name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


@dataclass
class User:
    """A user, and requests with the user's password or with one token."""

    image: RunningImage
    username: str
    password: str

    def api(self, method: str, path: str, body: object | None = None) -> requests.Response:
        """Send a request to the API."""
        return self.image.session().request(
            method,
            f"{self.image.url}/api/v1/{path}",
            json=body,
            auth=(self.username, self.password),
        )

    def change(self, method: str, path: str, body: object | None = None) -> None:
        """Send a request to the API that must succeed."""
        answer = self.api(method, path, body)
        assert answer.ok, (method, path, answer.status_code, answer.text)

    def request_token(self, *scopes: str, oauth: str | None = None) -> requests.Response:
        """Request a token with a password, or with an OAuth access token."""
        return self.image.session().get(
            f"{self.image.url}/v2/auth",
            params={"service": "registry.test", "scope": list(scopes)},
            auth=(self.username, self.password) if oauth is None else ("$oauthtoken", oauth),
        )

    def token(self, *scopes: str, oauth: str | None = None) -> str:
        """Return a token for the given scopes."""
        answer = self.request_token(*scopes, oauth=oauth)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def request(self, token: str, method: str, path: str, **arguments: object) -> requests.Response:
        """Send a request with a token to a path or a Location."""
        headers = dict(arguments.pop("headers", {}))  # type: ignore[call-overload]
        headers["Authorization"] = f"Bearer {token}"
        arguments.setdefault("allow_redirects", False)
        url = urljoin(self.image.url, path)
        return self.image.session().request(method, url, headers=headers, **arguments)  # type: ignore[arg-type]

    def push_blob(self, token: str, name: str, data: bytes) -> requests.Response:
        """Push a blob; return the first error response, or the last response."""
        answer = self.request(token, "POST", f"/v2/{name}/blobs/uploads/")
        if answer.ok:
            params = {"digest": sha256(data)}
            location = answer.headers["Location"]
            answer = self.request(token, "PUT", location, params=params, data=data)
        return answer

    def push_manifest(self, token: str, name: str, tag: str, config: bytes) -> requests.Response:
        """Push a manifest whose only blob is the configuration."""
        content = manifest_of(config)
        headers = {"Content-Type": IMAGE_TYPE}
        path = f"/v2/{name}/manifests/{tag}"
        return self.request(token, "PUT", path, data=content, headers=headers)

    def push(self, token: str, name: str, tag: str, config: bytes) -> None:
        """Push an image of one blob."""
        for answer in (
            self.push_blob(token, name, config),
            self.push_manifest(token, name, tag, config),
        ):
            assert answer.status_code == 201, answer.text


def manifest_of(config: bytes) -> bytes:
    """Return a manifest whose only blob is the configuration."""
    kind = "application/vnd.oci.image.config.v1+json"
    descriptor = {"mediaType": kind, "digest": sha256(config), "size": len(config)}
    return encode({"schemaVersion": 2, "mediaType": IMAGE_TYPE, "config": descriptor, "layers": []})


def actions_of(token: str) -> set[str]:
    """Return the actions in a token, for all its repositories."""
    claims = jwt.decode(token, options={"verify_signature": False})
    return {action for entry in claims["access"] for action in entry["actions"]}


def superuser(image: RunningImage) -> User:
    """Return the superuser of the image."""
    return User(image, image.username, image.password)


def new_user(image: RunningImage, prefix: str) -> User:
    """Create a user."""
    name = unique(prefix)
    body = {"username": name, "email": f"{name}@example.com"}
    answer = superuser(image).api("POST", "superuser/users/", body)
    assert answer.ok, answer.text
    return User(image, name, answer.json()["password"])
