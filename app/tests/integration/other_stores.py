"""Stores with other protocols than S3: OpenStack Swift, and Azurite, the emulator of Azure.

Swift is tested with its own authentication and with Keystone.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import requests
from azure.core.exceptions import AzureError
from azure.storage.blob import ContainerClient
from requests.exceptions import RequestException
from swiftclient.client import Connection
from swiftclient.exceptions import ClientException

from .services import (
    OBJECTS_OF_PROBES,
    Services,
    make_certificate,
    podman_client,
    published_port,
    run_container,
    wait_until,
)

CONTAINER = "blobs"
# The names that the image uses in its own configuration.
ACCOUNT, USER, REGION = "atoll", "tests", "tests"


@dataclass
class Swift:
    """A running Swift with one empty container and a key for temporary URLs."""

    certificate: Path
    key: str
    temp_url_key: str
    login: dict[str, Any]

    @property
    def settings(self) -> dict[str, object]:
        """The store's settings in DISTRIBUTED_STORAGE_CONFIG."""
        return {
            "swift_container": CONTAINER,
            "storage_path": "/datastorage/registry",
            "swift_password": self.key,
            "temp_url_key": self.temp_url_key,
            **self.login,
        }

    @cached_property
    def client(self) -> Connection:
        return Connection(
            self.login["auth_url"],
            self.login["swift_user"],
            self.key,
            auth_version=str(self.login["auth_version"]),
            os_options=self.login.get("os_options", {}),
            retries=0,
            cacert=str(self.certificate),
        )

    def answers(self) -> bool:
        try:
            self.client.post_account({"X-Account-Meta-Temp-URL-Key": self.temp_url_key})
            self.client.put_container(CONTAINER)
        except (ClientException, RequestException, OSError):
            return False
        return True

    def objects(self) -> set[str]:
        """Return all objects except the probe's, including segments."""
        _, rows = self.client.get_container(CONTAINER, full_listing=True)
        return {row["name"] for row in rows if not row["name"].endswith(OBJECTS_OF_PROBES)}


@dataclass
class Azurite:
    """A running emulator with one empty container."""

    url: str
    account: str
    key: str

    @cached_property
    def client(self) -> ContainerClient:
        credential = {"account_name": self.account, "account_key": self.key}
        return ContainerClient(self.url, CONTAINER, credential, retry_total=0)

    @property
    def settings(self) -> dict[str, object]:
        """The store's settings in DISTRIBUTED_STORAGE_CONFIG."""
        return {
            "azure_container": CONTAINER,
            "storage_path": "/datastorage/registry",
            "azure_account_name": self.account,
            "azure_account_key": self.key,
            "endpoint_url": self.url,
        }

    def answers(self) -> bool:
        try:
            self.client.create_container()
        except AzureError:
            return False
        return True

    def objects(self) -> set[str]:
        """Return all objects except the probe's, including blobs with uncommitted blocks."""
        names = {blob.name for blob in self.client.list_blobs(include=["uncommittedblobs"])}
        return {name for name in names if not name.endswith(OBJECTS_OF_PROBES)}


@dataclass
class Keystone:
    """A running Keystone with one project and its administrator."""

    url: str
    key: str

    def register_swift(self, port: int) -> bool:
        """Register the endpoint of Swift in the catalogue; return whether Keystone answered."""
        try:
            session = self._session()
            service = {"service": {"type": "object-store", "name": "swift"}}
            made = session.post(f"{self.url}/services", json=service)
            made.raise_for_status()
            endpoint = {
                "service_id": made.json()["service"]["id"],
                "interface": "public",
                "region_id": REGION,
                "url": f"https://127.0.0.1:{port}/v1/KEY_%(project_id)s",
            }
            session.post(f"{self.url}/endpoints", json={"endpoint": endpoint}).raise_for_status()
        except RequestException:
            return False
        return True

    def _session(self) -> requests.Session:
        session = requests.Session()
        domain = {"id": "default"}
        user = {"name": USER, "domain": domain, "password": self.key}
        asked = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": ACCOUNT, "domain": domain}},
        }
        answer = session.post(f"{self.url}/auth/tokens", json={"auth": asked})
        answer.raise_for_status()
        session.headers["X-Auth-Token"] = answer.headers["X-Subject-Token"]
        return session


def _own_authentication(port: int) -> dict[str, Any]:
    return {
        "auth_url": f"https://127.0.0.1:{port}/auth/v1.0",
        "auth_version": 1,
        "swift_user": f"{ACCOUNT}:{USER}",
    }


def _keystone_authentication(port: int) -> dict[str, Any]:
    return {
        "auth_url": f"http://127.0.0.1:{port}/v3",
        "auth_version": 3,
        "swift_user": USER,
        "os_options": {
            "project_name": ACCOUNT,
            "project_domain_id": "default",
            "user_domain_id": "default",
            "region_name": REGION,
        },
    }


@contextmanager
def running_swift(services: Services, directory: Path) -> Iterator[tuple[Swift, Swift]]:
    """Start Swift with a self-signed certificate; yield it with its own login and Keystone's."""
    certificate, private_key = make_certificate(directory, ["127.0.0.1"])
    key = os.urandom(20).hex()
    given = {
        "access_key": f"{ACCOUNT}:{USER}",
        "secret_key": key,
        "tls.crt": certificate.read_text(),
        "tls.key": private_key.read_text(),
    }
    for name, text in given.items():
        (directory / name).write_text(text)
    with podman_client() as podman:
        container = run_container(
            podman,
            services.network,
            "localhost/atoll-swift-store:13",
            "8080/tcp",
            "5000/tcp",
            environment={"STORE_PORT": "8080", "IDENTITY_PORT": "5000"},
            volumes={str(directory): {"bind": "/run/object-store", "mode": "ro"}},
        )
        try:
            port, identity = (published_port(container, name) for name in ("8080/tcp", "5000/tcp"))
            logins = (_own_authentication(port), _keystone_authentication(identity))
            own, by_identity = (
                Swift(certificate, key, os.urandom(20).hex(), login) for login in logins
            )
            wait_until("Swift answers", own.answers)
            keystone = Keystone(f"http://127.0.0.1:{identity}/v3", key)
            wait_until("Keystone lists Swift", lambda: keystone.register_swift(port))
            wait_until("Swift uses Keystone", by_identity.answers)
            yield own, by_identity
        finally:
            container.remove(force=True, v=True)


@contextmanager
def running_azurite(services: Services) -> Iterator[Azurite]:
    """Start Azurite with an account of its own."""
    account, key = "atolltests", base64.b64encode(os.urandom(32)).decode()
    with podman_client() as podman:
        container = run_container(
            podman,
            services.network,
            "localhost/atoll-azure-store:3",
            "10000/tcp",
            environment={"AZURITE_ACCOUNTS": f"{account}:{key}"},
        )
        try:
            port = published_port(container, "10000/tcp")
            azurite = Azurite(f"http://127.0.0.1:{port}/{account}", account, key)
            wait_until("Azurite answers", azurite.answers)
            yield azurite
        finally:
            container.remove(force=True, v=True)
