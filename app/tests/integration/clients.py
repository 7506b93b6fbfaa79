"""Clients of a test site: users of the API, signed-in sessions, applications without a server."""

from __future__ import annotations

import base64
from typing import Any

import requests
from atoll.services import Services
from atoll.web.app import create_app
from falcon import testing

from .site import PASSWORD, SUPERUSER, Client, Site

# The redirect URI that signed-in tests use.
LOCAL = "/oauth/localapp"


class Api:
    """A client of a site's API with one user's credentials."""

    def __init__(self, site: Site, username: str | None = SUPERUSER, password: str = PASSWORD):
        self.site = site
        self.session = requests.Session()
        self.session.trust_env = False
        if username:
            self.session.auth = (username, password)

    def call(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        """Send a request and return the decoded body; fail if the status differs."""
        answer = self.session.request(method, f"{self.site.url}/api/v1/{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None


def add_user(api: Api, name: str, password: str = "another password") -> Api:
    """Create a user with the API, and return the user's client of the API."""
    api.call("POST", "superuser/users/", {"username": name, "password": password})
    return Api(api.site, name, password)


def create_user(site: Site, name: str, password: str = "another password") -> Client:
    """Create a user on the command line, and return the user's OCI client."""
    made = site.command("user", "create", name, "--password-stdin", input=f"{password}\n")
    assert made.returncode == 0, made.stderr
    return Client(site, name, password)


def signed_in(site: Site, username: str = SUPERUSER, password: str = PASSWORD) -> requests.Session:
    """Return a session that signed in as Quay's Ansible modules do."""
    session = requests.Session()
    session.trust_env = False
    token = session.get(f"{site.url}/csrf_token").json()["csrf_token"]
    answer = session.post(
        f"{site.url}/api/v1/signin",
        json={"username": username, "password": password},
        headers={"X-CSRF-Token": token},
    )
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    session.headers["X-CSRF-Token"] = answer.headers["X-Next-CSRF-Token"]
    return session


def call_api(client: Client, method: str, path: str, **arguments: object) -> requests.Response:
    """Send a request to the API with the credentials of an OCI client."""
    return client.session.request(
        method,
        f"{client.site.url}/api/v1/{path}",
        auth=client.credentials,
        **arguments,  # type: ignore[arg-type]
    )


def private_repository(namespace: str, name: str) -> dict[str, str]:
    """Return the body of a request that creates a private repository."""
    return {"namespace": namespace, "repository": name, "visibility": "private"}


def client_with_settings(site: Site, **keys: object) -> testing.TestClient:
    """Return a client of an application whose bundle has other values for some keys."""
    site_services = Services(site.services.bundle.model_copy(update=keys), spool=site.directory)
    site_services.__dict__["locations"] = site.services.locations
    return testing.TestClient(create_app(site_services.dependencies()))


def request_status(
    client: testing.TestClient, username: str | None, path: str, password: str = PASSWORD, **more
) -> int:
    """Send a request, without credentials if there is no user name, and return the status."""
    headers = {}
    if username is not None:
        pair = base64.b64encode(f"{username}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {pair}"
    return client.simulate_request(path=path, headers=headers, **more).status_code


def health(site: Site, kind: str) -> tuple[int, dict[str, bool]]:
    """Return the status and the services in the response of a health endpoint."""
    answer = Client(site).session.get(f"{site.operations_url}/health/{kind}")
    body = answer.json()
    assert body["status_code"] == answer.status_code
    return answer.status_code, body["data"]["services"]
