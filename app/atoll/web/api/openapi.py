"""The OpenAPI document, written from the operations themselves."""

from __future__ import annotations

import re
from typing import Any

import atoll
from atoll.auth.api_tokens import SCOPES
from atoll.web.api.operation import Body, Call, Operation, operation
from atoll.web.api.router import PREFIX

_ERROR = {
    "description": "The request was refused; the body says why.",
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
        "status": {"type": "integer"},
    },
}


class Document:
    """`openapi.json` and `discovery`."""

    def __init__(self, resources: list[tuple[str, object]]) -> None:
        self._document = document(resources)

    @operation("discovery", anonymous=True)
    def on_get(self, call: Call) -> Any:
        """Describe this API."""
        del call
        return self._document


def document(resources: list[tuple[str, object]]) -> dict[str, Any]:
    """Return the OpenAPI document of RESOURCES, which are given with their paths."""
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
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
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
        # Quay's name, of which one may serve users and organizations; so the path tells it apart.
        "operationId": f"{one.name}: {identifier}",
        "summary": one.summary,
        "responses": {str(one.status): {"description": "It is done."}, "default": _ERROR},
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
        schema = one.query.model_json_schema()
        described["parameters"] = [
            {"name": name, "in": "query", "required": False, "schema": of}
            for name, of in schema["properties"].items()
        ]
    return described


def _schema(model: type[Body]) -> dict[str, Any]:
    """Return a model's schema with what it refers to put in its place."""
    schema = model.model_json_schema()
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
