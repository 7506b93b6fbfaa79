"""The page of the API, from its OpenAPI document."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import groupby
from typing import Any
from unittest import mock

from atoll.auth.api_tokens import SCOPES
from atoll.config import check
from atoll.web.api import openapi, resources

from reference.markdown import code, page, paragraph, sentence, table

_METHODS = ("get", "post", "put", "patch", "delete")
# Everything that a bundle can enable.
_BUNDLE = {
    "SERVER_HOSTNAME": "registry.example",
    "DB_URI": "postgresql://registry.example/atoll",
    "BUILDLOGS_REDIS": {"host": "registry.example"},
    "USER_EVENTS_REDIS": {"host": "registry.example"},
    "DATABASE_SECRET_KEY": "only-to-assemble-the-api-for-its-reference",
    "DISTRIBUTED_STORAGE_PREFERENCE": ["local"],
    "DISTRIBUTED_STORAGE_CONFIG": {"local": ["LocalStorage", {"storage_path": "/data"}]},
    "FEATURE_IMAGE_PULL_STATS": True,
    "FEATURE_MAILING": True,
    "MAIL_SERVER": "registry.example",
    "MAIL_DEFAULT_SENDER": "registry@registry.example",
    "FEATURE_SECURITY_SCANNER": True,
    "SECURITY_SCANNER_V4_ENDPOINT": "https://clair.example",
    "FEATURE_SUPERUSER_CONFIGDUMP": True,
}


def api_page() -> str:
    """Return the page of all operations, by the first word of their path."""
    return page("API", "the OpenAPI document of app/atoll/web/api", _parts(document()))


def document() -> dict[str, Any]:
    """Return the OpenAPI document of a registry with every feature enabled.

    The resources are created without services: creating them calls none of their collaborators.
    """
    collaborators: dict[str, Any] = {
        name: mock.MagicMock() for name in inspect.signature(resources.create_api).parameters
    }
    collaborators |= {"bundle": check(_BUNDLE).bundle, "environment": {}}
    with mock.patch.object(resources, "OpenApiDocument") as described:
        resources.create_api(**collaborators)
    return openapi.document(described.call_args.args[0])


def _parts(described: dict[str, Any]) -> Iterator[str]:
    yield paragraph(
        "The operations below `/api/v1`, as in Quay where Quay has them. A running registry serves"
        " the complete document, with the schemas of bodies and responses, at"
        " `GET /api/v1/discovery` and `GET /api/v1/openapi.json`. For authentication see"
        " [Use the API](../how-to/use-the-api.md). Operations of features that the bundle disables"
        " are not found."
    )
    yield "## Scopes"
    yield paragraph(
        "An OAuth token needs the scope of an operation. Operations marked *public* also work"
        " without authentication."
    )
    yield table(
        ("scope", "permits"), [(code(name), sentence(text)) for name, text in SCOPES.items()]
    )
    operations = sorted(_operations(described), key=lambda one: (one[0], one[1]))
    for group, members in groupby(operations, key=lambda one: one[0]):
        yield f"## {group}"
        yield table(("operation", "scope", "meaning"), [member[2:] for member in members])


def _operations(described: dict[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    for path, methods in described["paths"].items():
        for method in _METHODS:
            if method not in methods:
                continue
            one = methods[method]
            scope = code(one["x-scope"]) if "x-scope" in one else ""
            public = "public" if {} in one["security"] else ""
            yield (
                path.split("/")[1],
                f"{path} {_METHODS.index(method)}",
                code(f"{method.upper()} {path}"),
                " · ".join(filter(None, (scope, public))),
                sentence(one["summary"]),
            )
