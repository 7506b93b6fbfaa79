"""The REST API of a registry, used by its superuser."""

from http import HTTPStatus
from typing import Any

import information
import requests
from definition import Lab

_TIMEOUT = 120


class Api:
    """Requests to `/api/v1`."""

    def __init__(self, lab: Lab, host: str | None = None) -> None:
        """Make a client of the registry or, with its host, of one site."""
        login = information.describe(lab)["registry"]
        self._url = f"https://{host or login['hostname']}/api/v1"
        self._session = requests.Session()
        # The environment could name another file of CA certificates.
        self._session.trust_env = False
        self._session.verify = str(lab.certificate_authority)
        self._session.auth = (login["username"], login["password"])

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:
        """Send a request, and return the JSON document of its response; None without a body."""
        response = self._session.request(
            method, f"{self._url}/{path}", json=body, timeout=_TIMEOUT, allow_redirects=False
        )
        assert response.status_code < HTTPStatus.MULTIPLE_CHOICES, response.text
        return response.json() if response.content else None

    def ensure_organization(self, name: str, robot: str) -> None:
        """Create an organization with a robot, unless both exist."""
        organization = f"{self._url}/organization/{name}"
        if self._session.get(organization, timeout=_TIMEOUT).status_code != HTTPStatus.OK:
            self.call("POST", "organization/", {"name": name, "email": f"{name}@example.com"})
            self.call("PUT", f"organization/{name}/robots/{robot}", {})
