"""The recorded exchanges with a real Clair; see `recordings/README.md`.

Needs the standard library only, because the replay server also runs in a container image.
"""

from __future__ import annotations

import functools
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).with_name("recordings")
# Headers of a connection, which the server that replays a response sets by itself.
_OF_CONNECTION = frozenset({"connection", "content-length", "date", "trailer", "transfer-encoding"})


@dataclass(frozen=True)
class Response:
    """A recorded response.

    Attributes:
        status: The status.
        headers: The headers, without those of the connection.
        document: The decoded body: JSON, or text.
        is_json: Whether the body is JSON.
        is_complete: Whether the body had its end; a cut one is that of status 429.
        is_chunked: Whether the body was sent in chunks.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    document: Any
    is_json: bool
    is_complete: bool
    is_chunked: bool

    @property
    def body(self) -> bytes:
        """The body as it was sent."""
        text = (json.dumps(self.document) + "\n") if self.is_json else self.document
        body: bytes = text.encode()
        is_compressed = ("Content-Encoding", "gzip") in self.headers
        return gzip.compress(body, mtime=0) if is_compressed else body


@dataclass(frozen=True)
class Recording:
    """A recorded exchange.

    Attributes:
        name: The name of its file without the extension.
        note: What it shows.
        method: The method of the request.
        target: The path and query of the request.
        request_headers: The headers of the request.
        request_body: The decoded body of the request; None if there was none.
        response: The response; None if there was none.
    """

    name: str
    note: str
    method: str
    target: str
    request_headers: dict[str, str]
    request_body: Any
    response: Response | None

    @property
    def number(self) -> str:
        """The number that its name begins with."""
        return self.name.partition("-")[0]

    @property
    def is_webhook(self) -> bool:
        """Whether Clair sent the request to the registry."""
        return self.target == "/secscan/notification"


@functools.cache
def recording(number: str) -> Recording:
    """Return an exchange by its number, such as `03` or `89b`."""
    (path,) = DIRECTORY.glob(f"{number}-*.json")
    return _load(path)


@functools.cache
def recordings() -> tuple[Recording, ...]:
    """Return all exchanges, by number."""
    return tuple(_load(path) for path in sorted(DIRECTORY.glob("*.json")))


def _load(path: Path) -> Recording:
    document = json.loads(path.read_text())
    request = document["request"]
    return Recording(
        name=path.stem,
        note=document["note"],
        method=request["method"],
        target=request["target"],
        request_headers=dict(request.get("headers", ())),
        request_body=request["body"],
        response=_response(document["response"]),
    )


def _response(document: dict[str, Any] | None) -> Response | None:
    if document is None:
        return None
    headers = [(name, value) for name, value in document.get("headers", ())]
    names = {name.lower(): value for name, value in headers}
    body = document.get("body", "")
    return Response(
        status=document["status"],
        headers=tuple(one for one in headers if one[0].lower() not in _OF_CONNECTION),
        document=body,
        is_json=not isinstance(body, str),
        is_complete=document.get("complete", True),
        is_chunked=names.get("transfer-encoding") == "chunked",
    )
