"""Requests to the API of a site in memory, without a server."""

from __future__ import annotations

import base64
from typing import Any

import falcon.testing
from atoll.web.app import create_app

from .sites import SUPERUSER, MemorySite

PASSWORD = "correct horse battery"


class ApiClient:
    """Sends requests as one user."""

    def __init__(
        self, site: MemorySite, username: str | None = SUPERUSER, password: str = PASSWORD
    ) -> None:
        """Make a client.

        Args:
            site: The site.
            username: The user; None for requests without credentials.
            password: The password.
        """
        self._client = falcon.testing.TestClient(create_app(site.graph.dependencies()))
        credentials = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._headers = {} if username is None else {"Authorization": f"Basic {credentials}"}

    def request(
        self, method: str, path: str, body: Any = None, query: dict[str, Any] | None = None
    ) -> falcon.testing.Result:
        """Send a request and return the response.

        Args:
            method: The HTTP method.
            path: The path below `/api/v1/`.
            body: The body, as JSON.
            query: The query.
        """
        return self._client.simulate_request(
            method, f"/api/v1/{path}", json=body, params=query, headers=self._headers
        )

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int = 200,
        query: dict[str, Any] | None = None,
    ) -> Any:
        """Send a request, check the status and return the JSON document."""
        response = self.request(method, path, body, query)
        assert response.status_code == status, response.text
        return response.json if response.content else None
