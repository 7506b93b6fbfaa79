"""Requests to the replay server, and its answers, which are recorded or made from documents."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any, Protocol

# Relative, because the directory stands alone in a container image.
from .recordings import recording
from .state import Controls


@dataclass(frozen=True)
class Request:
    """A request; names of headers have lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: socket.socket


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    is_chunked: bool = True
    is_complete: bool = True


class Responder(Protocol):
    """Answers the requests of a server."""

    def answer(self, request: Request) -> Answer | None:
        """Return the response to a request; None to close the connection without one."""
        ...


def document(number: str) -> Any:
    """Return the decoded body of a recorded response."""
    response = recording(number).response
    assert response is not None
    return response.document


def recorded(number: str) -> Answer:
    """Return a recorded response."""
    response = recording(number).response
    assert response is not None
    return Answer(
        response.status,
        response.headers,
        response.body,
        is_chunked=response.is_chunked,
        is_complete=response.is_complete,
    )


def json_answer(
    status: int, content: Any, *headers: tuple[str, str], content_type: str = "application/json"
) -> Answer:
    """Return a response with a JSON document."""
    body = (json.dumps(content) + "\n").encode()
    return Answer(status, (("Content-Type", content_type), *headers), body)


def etag(controls: Controls) -> str:
    """Return the ETag that has the state of the indexer."""
    state = controls.indexer_state or document("01")["state"]
    return f'"{state}"'
