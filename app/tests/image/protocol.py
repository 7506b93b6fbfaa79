"""A client of the distribution specification that returns every response unchanged.

It needs a base URL, a CA certificate, a user name and a password. Like real clients it requests a
token when it is challenged.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

import requests

IMAGE_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_PATH = re.compile(r"/v2/(?P<name>.+?)/(?:blobs|manifests|tags|referrers)/")
_NAME = re.compile(r"[a-z0-9/_.-]+")
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_ACTIONS = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def sha512(data: bytes) -> str:
    return f"sha512:{hashlib.sha512(data).hexdigest()}"


def encode(document: dict[str, object]) -> bytes:
    return json.dumps(document, indent=2).encode()


def codes(answer: requests.Response) -> list[str]:
    """Return the error codes of a response, which must have the specified form."""
    errors = answer.json()["errors"]
    assert errors
    for error in errors:
        assert re.fullmatch(r"[A-Z_]+", error["code"])
        assert error["message"]
    return [error["code"] for error in errors]


@dataclass(frozen=True)
class Image:
    """An image that was pushed."""

    content: bytes
    config: str
    layers: list[str]
    media_type: str = IMAGE_TYPE

    @property
    def digest(self) -> str:
        return sha256(self.content)

    @property
    def descriptor(self) -> dict[str, object]:
        return {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": len(self.content),
        }


def _new_name() -> str:
    return f"admin/test-{uuid.uuid4().hex}"


@dataclass
class Registry:
    """One address of a registry, and a repository that no other test uses."""

    url: str
    authority: Path
    username: str
    password: str
    name: str = field(default_factory=_new_name)

    def __post_init__(self) -> None:
        self.session = requests.Session()
        # Environment variables of this machine could name another file of CA certificates.
        self.session.trust_env = False
        self.session.verify = str(self.authority)
        self._tokens: dict[tuple[str, str], str] = {}

    def path(self, rest: str, name: str | None = None) -> str:
        return f"/v2/{name or self.name}/{rest}"

    def request(self, method: str, path: str, **arguments: object) -> requests.Response:
        """Send a request to a path or a Location; answer a challenge with a token, once."""
        url = urljoin(self.url, path)
        found = _PATH.search(url)
        key = (found["name"] if found else "", _ACTIONS.get(method, "push"))
        headers = dict(arguments.pop("headers", {}))  # type: ignore[call-overload]
        if key in self._tokens:
            headers["Authorization"] = f"Bearer {self._tokens[key]}"
        answer = self.session.request(method, url, headers=headers, **arguments)  # type: ignore[arg-type]
        if answer.status_code == 401:
            self._tokens[key] = self.token(answer)
            headers["Authorization"] = f"Bearer {self._tokens[key]}"
            answer = self.session.request(method, url, headers=headers, **arguments)  # type: ignore[arg-type]
        return answer

    def token(self, challenge: requests.Response, *scopes: str) -> str:
        """Return the token that a challenge asks for, with additional scopes."""
        parameters = dict(_PARAMETER.findall(challenge.headers["WWW-Authenticate"]))
        asked = [parameters["scope"]] if "scope" in parameters else []
        answer = self.session.get(
            parameters["realm"],
            params={"service": parameters["service"], "scope": [*asked, *scopes]},
            auth=(self.username, self.password),
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def mount(self, digest: str, target: str, source: str | None) -> requests.Response:
        """Mount a blob with a token for both repositories, as clients do."""
        path = self.path("blobs/uploads/", target)
        scopes = [f"repository:{source}:pull"] if source and _NAME.fullmatch(source) else []
        token = self.token(self.session.post(urljoin(self.url, path)), *scopes)
        query = {"mount": digest} | ({"from": source} if source else {})
        headers = {"Authorization": f"Bearer {token}"}
        return self.session.post(urljoin(self.url, path), params=query, headers=headers)

    def begin_upload(self, name: str | None = None) -> str:
        """Begin an upload and return its location."""
        answer = self.request("POST", self.path("blobs/uploads/", name))
        assert answer.status_code == 202, answer.text
        return answer.headers["Location"]

    def patch(self, location: str, data: bytes, start: int | None = None) -> requests.Response:
        """Send a chunk; with `start`, also its Content-Range."""
        headers = {"Content-Type": "application/octet-stream"}
        if start is not None:
            headers["Content-Range"] = f"{start}-{start + len(data) - 1}"
        return self.request("PATCH", location, data=data, headers=headers)

    def put(
        self, location: str, digest: str, data: bytes = b"", start: int | None = None
    ) -> requests.Response:
        """Complete an upload, with `data` as its last chunk."""
        headers = {"Content-Type": "application/octet-stream"}
        if start is not None:
            headers["Content-Range"] = f"{start}-{start + len(data) - 1}"
        return self.request("PUT", location, params={"digest": digest}, data=data, headers=headers)

    def push_blob(self, data: bytes, digest: str | None = None, name: str | None = None) -> str:
        """Push a blob and return its digest."""
        digest = digest or sha256(data)
        answer = self.put(self.begin_upload(name), digest, data)
        assert answer.status_code == 201, answer.text
        return digest

    def blob(self, digest: str, method: str = "GET", **arguments: object) -> requests.Response:
        return self.request(method, self.path(f"blobs/{digest}"), **arguments)

    def manifest(
        self, reference: str, method: str = "GET", **arguments: object
    ) -> requests.Response:
        return self.request(method, self.path(f"manifests/{reference}"), **arguments)

    def put_manifest(
        self, reference: str, content: bytes, media_type: str = IMAGE_TYPE, **arguments: object
    ) -> requests.Response:
        headers = {"Content-Type": media_type}
        return self.manifest(reference, "PUT", data=content, headers=headers, **arguments)

    def push_image(self, tag: str | None = None, **fields: object) -> Image:
        """Push an image with one layer by digest or tag; `fields` go into its manifest."""
        config, layer = os.urandom(64), os.urandom(256)
        digests = [self.push_blob(config), self.push_blob(layer)]
        content = encode(
            {
                "schemaVersion": 2,
                "mediaType": IMAGE_TYPE,
                "config": {"mediaType": CONFIG_TYPE, "digest": digests[0], "size": 64},
                "layers": [{"mediaType": LAYER_TYPE, "digest": digests[1], "size": 256}],
                **fields,
            }
        )
        answer = self.put_manifest(tag or sha256(content), content)
        assert answer.status_code == 201, answer.text
        return Image(content, digests[0], digests[1:])

    def push_index(self, images: list[Image], tag: str | None = None, **fields: object) -> Image:
        """Push an index of images."""
        content = encode(
            {
                "schemaVersion": 2,
                "mediaType": INDEX_TYPE,
                "manifests": [image.descriptor for image in images],
                **fields,
            }
        )
        answer = self.put_manifest(tag or sha256(content), content, INDEX_TYPE)
        assert answer.status_code == 201, answer.text
        return Image(content, "", [], INDEX_TYPE)

    def tags(self, **query: object) -> requests.Response:
        return self.request("GET", self.path("tags/list"), params=query)

    def referrers(self, digest: str, **query: object) -> requests.Response:
        return self.request("GET", self.path(f"referrers/{digest}"), params=query)
