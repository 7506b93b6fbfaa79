"""Generate the OpenAPI document from the operations."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

from pydantic import TypeAdapter

import atoll
from atoll.auth.api_tokens import SCOPES
from atoll.web.api.middleware import PREFIX
from atoll.web.api.operation import NO_CONTENT, Call, Operation, operation

_ERROR = {
    "description": "The request failed; the body contains the reason.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
_ERROR_SCHEMA = {
    "type": "object",
    "properties": {
        "detail": {"type": "string"},
        "error_message": {"type": "string"},
        "error_type": {"type": "string"},
        "title": {"type": "string"},
        "type": {"type": "string"},
        "status": {"type": "integer", "minimum": 400},
    },
    "required": ["detail", "error_message", "error_type", "title", "type", "status"],
}
# Path parameters that match no object otherwise.
_PATH_SCHEMAS: dict[str, dict[str, Any]] = {
    "uuid": {"type": "string", "format": "uuid"},
    "digest": {"type": "string", "pattern": r"^[a-z0-9]+:[a-f0-9]+$"},
    "repository": {"type": "string", "description": "NAMESPACE/NAME", "minLength": 3},
}


class OpenApiDocument:
    """`openapi.json` and `discovery`."""

    def __init__(self, resources: list[tuple[str, object]]) -> None:
        self._resources = resources

    @cached_property
    def _document(self) -> dict[str, Any]:
        # On the first request, because it takes twenty times as long as the rest of the API.
        return document(self._resources)

    @operation("discovery", anonymous=True, before_login=True)
    def on_get(self, call: Call) -> Any:
        """Get the OpenAPI document of this API."""
        del call
        return self._document


def document(resources: list[tuple[str, object]]) -> dict[str, Any]:
    """Return the OpenAPI document of resources.

    Args:
        resources: pairs of URI template and resource.
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": "Atoll", "version": atoll.__version__},
        "servers": [{"url": PREFIX}],
        "paths": {path: _path(path, resource) for path, resource in resources},
        "components": {
            "schemas": {"Error": _ERROR_SCHEMA},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "; ".join(f"{k}: {v}" for k, v in SCOPES.items()),
                },
                "password": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _path(path: str, resource: object) -> dict[str, Any]:
    described: dict[str, Any] = {
        "parameters": [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": _PATH_SCHEMAS.get(name, {"type": "string", "minLength": 1}),
            }
            for name in re.findall(r"\{(\w+)\}", path)
        ]
    }
    for attribute in dir(resource):
        responder = getattr(resource, attribute)
        if attribute.startswith("on_") and hasattr(responder, "operation"):
            method = attribute.removeprefix("on_")
            described[method] = _operation(responder.operation, f"{method} {path}")
    return described


def _operation(one: Operation, identifier: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        # Quay's name. The path makes it unique, because users and organizations share some names.
        "operationId": f"{one.name}: {identifier}",
        "summary": one.summary,
        "responses": {str(one.status): _success(one), "default": _ERROR},
        "security": [{"token": []}, {"password": []}, *([{}] if one.anonymous else [])],
    }
    if one.scope:
        described["x-scope"] = one.scope
    if one.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _schema(one.body)}},
        }
    if one.query is not None:
        schema = _schema(one.query)
        described["parameters"] = [
            {"name": name, "in": "query", "required": False, "schema": of}
            for name, of in schema["properties"].items()
        ]
    return described


def _success(one: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {"description": "The operation succeeded."}
    if one.status != NO_CONTENT:
        described["content"] = {"application/json": {"schema": _schema(one.response)}}
    return described


def _schema(model: Any) -> dict[str, Any]:
    """Return the JSON schema of a type with its references resolved."""
    schema = TypeAdapter(model).json_schema(mode="serialization")
    definitions = schema.pop("$defs", {})
    resolved = _resolved(schema, definitions)
    return dict(resolved)


def _resolved(part: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(part, dict):
        if "$ref" in part:
            return _resolved(definitions[part["$ref"].rpartition("/")[2]], definitions)
        return {key: _resolved(value, definitions) for key, value in part.items()}
    if isinstance(part, list):
        return [_resolved(value, definitions) for value in part]
    return part
