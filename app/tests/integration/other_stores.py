"""Stores that speak another language than S3: OpenStack's Swift, and Azurite for Azure's."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from azure.core.exceptions import AzureError
from azure.storage.blob import ContainerClient
from requests.exceptions import RequestException
from swiftclient.client import Connection
from swiftclient.exceptions import ClientException

from .services import (
    Services,
    make_certificate,
    podman_client,
    published_port,
    run_container,
    wait_until,
)

CONTAINER = "blobs"


@dataclass
class Swift:
    """A running Swift with one empty container and a key for temporary URLs."""

    port: int
    certificate: Path
    user: str
    key: str
    temp_url_key: str

    @property
    def settings(self) -> dict[str, object]:
        """What DISTRIBUTED_STORAGE_CONFIG says of this store."""
        return {
            "swift_container": CONTAINER,
            "storage_path": "/datastorage/registry",
            "auth_url": f"https://127.0.0.1:{self.port}/auth/v1.0",
            "auth_version": 1,
            "swift_user": self.user,
            "swift_password": self.key,
            "temp_url_key": self.temp_url_key,
        }

    @cached_property
    def client(self) -> Connection:
        settings = self.settings
        return Connection(
            settings["auth_url"], self.user, self.key, retries=0, cacert=str(self.certificate)
        )

    def answers(self) -> bool:
        try:
            self.client.post_account({"X-Account-Meta-Temp-URL-Key": self.temp_url_key})
            self.client.put_container(CONTAINER)
        except (ClientException, RequestException, OSError):
            return False
        return True

    def objects(self) -> set[str]:
        """Return all objects but the probe's, segments among them."""
        _, rows = self.client.get_container(CONTAINER, full_listing=True)
        return {row["name"] for row in rows if not row["name"].endswith("/_verify")}


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
        """What DISTRIBUTED_STORAGE_CONFIG says of this store."""
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
        """Return all objects but the probe's, those not put together yet among them."""
        names = {blob.name for blob in self.client.list_blobs(include=["uncommittedblobs"])}
        return {name for name in names if not name.endswith("/_verify")}


@contextmanager
def running_swift(services: Services, directory: Path) -> Iterator[Swift]:
    """Start a Swift whose certificate signs itself."""
    certificate, private_key = make_certificate(directory, ["127.0.0.1"])
    given = {
        "access_key": "atoll:tests",
        "secret_key": os.urandom(20).hex(),
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
            environment={"STORE_PORT": "8080"},
            volumes={str(directory): {"bind": "/run/object-store", "mode": "ro"}},
        )
        try:
            port = published_port(container, "8080/tcp")
            swift = Swift(
                port, certificate, given["access_key"], given["secret_key"], os.urandom(20).hex()
            )
            wait_until("Swift answers", swift.answers)
            yield swift
        finally:
            container.remove(force=True, v=True)


@contextmanager
def running_azurite(services: Services) -> Iterator[Azurite]:
    """Start an Azurite, with an account of its own."""
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
