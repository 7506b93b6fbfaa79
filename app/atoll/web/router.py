"""Falcon router for URI templates with repository names, which contain slashes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import falcon
from falcon.routing import map_http_methods, set_default_responders

# Resource, responders by method, path parameters and URI template, as Falcon expects them.
Found = tuple[object, dict[str, Any], dict[str, str], str]

# Fields that match several path segments. All others match one.
_REPOSITORY_FIELDS = frozenset({"name", "repository"})
_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Route:
    """A URI template and the resource that serves it."""

    uri_template: str
    resource: object
    method_map: dict[str, Any]
    # The template split into texts and, between them, fields.
    parts: list[str]
    optional_slash: bool
    # Text after the first field that every matching path contains. Searching for it first is
    # cheaper than a pattern that does not match.
    text: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The pattern of the template, compiled when it is needed."""
        text = "".join(
            re.escape(part)
            if number % 2 == 0
            else rf"(?P<{part}>{'.+' if part in _REPOSITORY_FIELDS else '[^/]+'})"
            for number, part in enumerate(self.parts)
        )
        return re.compile(text + ("/?" if self.optional_slash else ""))


class Router:
    """Find the resource of a path (Falcon's custom router interface).

    Falcon's default router accepts a field with slashes only at the end of a template. Here the
    fields `{name}` and `{repository}` match any number of segments anywhere in a template.

    A template without fields has precedence. Of templates with the same text before their first
    field, the one that was added first has precedence.
    """

    def __init__(self) -> None:
        self._literal: dict[str, Route] = {}
        # By the first segment of the path, then by the text before the first field.
        self._by_segment: dict[str, dict[str, list[Route]]] = {}

    def add_route(
        self, uri_template: str, resource: object, *, optional_slash: bool = False, **kwargs: Any
    ) -> None:
        """Serve the paths of a URI template by a resource.

        Args:
            uri_template: Path with fields in braces.
            resource: Object with `on_<method>` responders.
            optional_slash: Whether the path may have or lack a slash at its end.
            kwargs: Falcon's `suffix`; others are ignored.
        """
        method_map: dict[str, Any] = dict(map_http_methods(resource, suffix=kwargs.get("suffix")))
        set_default_responders(method_map)
        parts = _FIELD.split(uri_template.rstrip("/") if optional_slash else uri_template)
        text = max(parts[2::2], key=len, default="")
        route = Route(uri_template, resource, method_map, parts, optional_slash, text)
        if len(parts) > 1:
            routes = self._by_segment.setdefault(_first_segment(uri_template), {})
            routes.setdefault(parts[0], []).append(route)
            return
        self._literal[uri_template] = route
        if optional_slash:
            self._literal |= {parts[0]: route, f"{parts[0]}/": route}

    def find(self, uri: str, req: falcon.Request | None = None) -> Found | None:
        """Return the route of a path, or None if no template matches it."""
        del req
        route = self._literal.get(uri)
        if route is not None:
            return route.resource, route.method_map, {}, route.uri_template
        by_prefix = self._by_segment.get(_first_segment(uri), {})
        for prefix, routes in by_prefix.items():
            if not uri.startswith(prefix):
                continue
            for route in routes:
                if route.text in uri and (match := route.pattern.fullmatch(uri)):
                    params = match.groupdict()
                    return route.resource, route.method_map, params, route.uri_template
        return None

    def __iter__(self) -> Iterator[Route]:
        """Iterate over the routes, each once."""
        yield from {route.uri_template: route for route in self._literal.values()}.values()
        for by_prefix in self._by_segment.values():
            for routes in by_prefix.values():
                yield from routes


def _first_segment(path: str) -> str:
    return path[: path.find("/", 1)]
