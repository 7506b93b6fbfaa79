"""Run operations of the API in process, with the permissions of the caller of a page."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from atoll.web.api.errors import NotFound, Unauthenticated
from atoll.web.api.forgery import READING
from atoll.web.api.middleware import PREFIX, convert_parameter
from atoll.web.api.operation import Call, Operation, check_caller, validated
from atoll.web.api.resources import Resources
from atoll.web.errors import ReadOnly


class ApiCalls:
    """The operations of the API, by method and URI template.

    They check scopes, roles and the state of the registry, validate their query and body, and write
    audit entries exactly as they do for a request to the API.
    """

    def __init__(self, routes: Resources, *, read_only: bool, anonymous: bool) -> None:
        """Make a caller of operations.

        Args:
            routes: The routes of the API, as (URI template, resource).
            read_only: Whether REGISTRY_STATE is readonly.
            anonymous: FEATURE_ANONYMOUS_ACCESS.
        """
        self._resources = {template.rstrip("/"): resource for template, resource in routes}
        self._read_only = read_only
        self.anonymous = anonymous

    def serves(self, path: str) -> bool:
        """Return whether the API has a URI template; optional features may be disabled."""
        return PREFIX + path.rstrip("/") in self._resources

    def run(
        self,
        call: Call,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        **parameters: Any,
    ) -> Any:
        """Run an operation and return the document that the API would send.

        Args:
            call: The call of the page. Its grant is the repository of the operation.
            method: The HTTP method of the operation.
            path: The URI template of the operation below `/api/v1`.
            query: The query; values may be text, as in a URL.
            body: The body, as of JSON.
            parameters: The fields of the template other than the repository.

        Raises:
            Exception: One of `atoll.web.api.errors.STATUSES`, as the API would report it.
        """
        resource = self._resources.get(PREFIX + path.rstrip("/"))
        responder = getattr(type(resource), f"on_{method.lower()}", None)
        described: Operation | None = getattr(responder, "operation", None)
        if responder is None or described is None:
            raise NotFound("this feature is disabled in the configuration of the registry")
        changing = method not in READING
        if changing and call.req.method in READING:
            raise RuntimeError(f"a page that is read must not run {described.name}")
        if changing and self._read_only:
            raise ReadOnly
        if call.principal is None and not self.anonymous and not described.before_login:
            raise Unauthenticated
        prepared = replace(call, req=copy.copy(call.req), status=None)
        prepared.req.method = method
        check_caller(described, prepared)
        if described.query is not None:
            prepared.query = validated(described.query, dict(query or {}), "query")
        if described.body is not None:
            prepared.body = validated(described.body, body or {}, "body")
        converted = {
            name: convert_parameter(call.req, name, value) if isinstance(value, str) else value
            for name, value in parameters.items()
        }
        return responder.__wrapped__(resource, prepared, **converted)
