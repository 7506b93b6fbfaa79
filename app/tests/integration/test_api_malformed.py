"""Malformed requests to every operation of the API do not cause internal errors."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any
from urllib.parse import quote

from atoll.auth.api_tokens import SCOPES, ApiTokens

from .clients import Api
from .site import SUPERUSER, Site

TEXTS = [
    "x",
    "é",
    "\ud7ff",
    "a" * 300,
    "..",
    "+",
    "admin+",
    "%s",
    "'",
    "sha256:" + "0" * 64,
    "a\0b",
]
VALUES: list[object] = [None, 0, -1, 2**70, 1e400, True, [], {}, [[]], {"name": {}}, *TEXTS]
RAW = [b"", b"{", b"null", b"[]", b"1", b'"x"', b"\xff", b"[" * 100_000, b'{"a":' * 5_000]


def bodies(schema: dict[str, Any]) -> list[bytes]:
    """Return bodies in which one field after the other has a value of the wrong type."""
    fields = schema.get("properties", {})
    valid = {name: _valid(field) for name, field in fields.items()}
    made = [{**valid, name: value} for name, value in itertools.product(fields, VALUES)]
    return [*RAW, *(json.dumps(one).encode() for one in made)]


def _valid(field: dict[str, Any]) -> object:
    if "enum" in field:
        return field["enum"][0]
    return {"string": "valid1", "boolean": False, "integer": 1, "object": {}}.get(
        field.get("type", "string")
    )


def test_no_malformed_request_causes_a_server_error(us: Site) -> None:
    api = Api(us)
    document = api.call("GET", "openapi.json")
    # Verifying a password takes a slow hash for each request.
    token = ApiTokens(us.services.database).create(SUPERUSER, list(SCOPES), 3600)
    api.session.auth = None
    headers = {"Authorization": f"Bearer {token}"}
    failed = []

    def send(method: str, path: str, **arguments: Any) -> None:
        answer = api.session.request(method, f"{us.url}/api/v1{path}", headers=headers, **arguments)
        if answer.status_code >= 500:
            failed.append((method, path, arguments, answer.text))

    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "parameters":
                continue
            for text in TEXTS:
                send(method, re.sub(r"\{\w+\}", quote(text), path))
            known = path.replace("{repository}", "admin/app").replace("{username}", "nobody")
            known = re.sub(r"\{\w+\}", "valid1", known)
            for parameter, text in itertools.product(operation.get("parameters", []), TEXTS):
                send(method, known, params={parameter["name"]: text})
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                for body in bodies(schema):
                    send(method, known, data=body)
    assert not failed
