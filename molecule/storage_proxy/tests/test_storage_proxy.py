"""Clients push and pull through the registry if they cannot reach the stores."""

import hashlib
import json
import socket
import ssl
from base64 import b64encode
from contextlib import ExitStack
from http.client import HTTPSConnection
from pathlib import Path

import images
import information
import pytest
from clients import Clients
from commands import wait_until
from definition import Lab, Store
from load import Load, copy, write_image
from pausing import paused
from site_machine import SiteMachine

# The size of a layer in bytes.
LARGE = 40_000_000
# Seconds after which a connection to an unreachable store fails.
PATIENCE = 3


class Client:
    """An HTTPS client that does not follow redirects."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._trust = ssl.create_default_context(cafile=str(lab.certificate_authority))

    def get(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPSConnection(self._lab.registry_hostname, context=self._trust)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def authorization(self, repository: str) -> dict[str, str]:
        login = information.describe(self._lab)["registry"]
        basic = b64encode(f"{login['username']}:{login['password']}".encode()).decode()
        path = f"/v2/auth?service={login['hostname']}&scope=repository:{repository}:pull"
        _, _, body = self.get(path, {"Authorization": f"Basic {basic}"})
        return {"Authorization": f"Bearer {json.loads(body)['token']}"}


def test_no_client_reaches_a_store(hidden_stores: list[Store]) -> None:
    for store in hidden_stores:
        with pytest.raises(TimeoutError):
            socket.create_connection((store.address, store.port), timeout=PATIENCE)


def test_clients_push_and_pull_without_reaching_a_store(
    clients: Clients, us: SiteMachine, eu: SiteMachine, tmp_path: Path
) -> None:
    layout = tmp_path / "large"
    digest = write_image(layout, LARGE)
    with Load(clients, tmp_path, "admin/load") as load:
        assert not copy(clients, f"oci:{layout}:1", f"docker://{clients.registry}/admin/large:1")
        us.atoll("wait admin/large:1 --location eustorage --timeout 300")
        for site in (us, eu):
            assert clients.skopeo_pull(site.address, f"admin/large@{digest}") == digest
        pushed = clients.podman_push(images.DEMONSTRATION.tag, "admin/podman:1")
        assert clients.podman_pull(f"admin/podman@{pushed}") == pushed
        wait_until("the load is running", lambda: load.pulls > 5)

    assert load.failures == []
    assert load.pulls == len(load.pushed)


def test_no_response_redirects_a_client_to_a_store(
    lab: Lab, clients: Clients, tmp_path: Path
) -> None:
    digest = write_image(tmp_path / "direct", LARGE)
    name = "admin/direct"
    assert not copy(clients, f"oci:{tmp_path}/direct:1", f"docker://{clients.registry}/{name}:1")
    manifest = json.loads(clients.skopeo_manifest(clients.registry, f"{name}@{digest}"))
    layer = manifest["layers"][0]
    client = Client(lab)
    login = client.authorization(name)
    path = f"/v2/{name}/blobs/{layer['digest']}"

    status, headers, body = client.get(path, login)
    assert (status, "Location" in headers) == (200, False)
    assert f"sha256:{hashlib.sha256(body).hexdigest()}" == layer["digest"]
    status, headers, part = client.get(path, login | {"Range": "bytes=1000-1999"})
    assert (status, part) == (206, body[1000:2000])


def test_clients_see_no_failure_while_the_nearest_store_hangs(
    lab: Lab, clients: Clients, us: SiteMachine, eu: SiteMachine, tmp_path: Path
) -> None:
    nearest = next(store for store in lab.stores if store.location == us.location)
    digest = write_image(tmp_path / "before", LARGE)
    reference = f"{clients.registry}/admin/before"
    assert not copy(clients, f"oci:{tmp_path}/before:1", f"docker://{reference}:1")
    us.atoll("wait --timeout 300")
    with Load(clients, tmp_path, "admin/without") as load:
        wait_until("the load is running", lambda: load.pulls > 2)
        with ExitStack() as stack:
            with load.between_images():
                stack.enter_context(paused(nearest))
            pulls = load.pulls
            assert clients.skopeo_pull(clients.registry, f"admin/before@{digest}") == digest
            wait_until("the load continues", lambda: load.pulls > pulls + 5)

    assert load.failures == []
    assert load.pulls == len(load.pushed)
    eu.atoll("wait --timeout 300")
    for name, pushed in load.pushed.items():
        reference = f"{name.partition(':')[0]}@{pushed}"
        assert clients.skopeo_pull(us.address, reference) == pushed
