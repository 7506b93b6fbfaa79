"""PostgreSQL, Redis and Ceph RGW in podman, started for one test run and removed afterwards.

Containers of an interrupted run are found by their label and removed first.
"""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import boto3
import podman
import psycopg2
import redis
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from podman.domain.containers import Container
from podman.domain.containers_manager import ContainersManager
from podman.errors import NotFound

from .ports import free_ports

REPOSITORY = Path(__file__).resolve().parents[3]
NAMESPACE = REPOSITORY / "molecule/lab/in-machine-namespace"
LABEL = "atoll.tests=integration"
OWNER = "atoll.tests.owner"
SECONDS = 120
OBJECTS_OF_PROBES = ("/_verify", "/_location")
_STORE_PORT = 7480
# podman's default network.
_DEFAULT_NETWORK = "podman"
_CLEANUP_LOCK = Path(tempfile.gettempdir(), "atoll-tests-cleanup.lock")


def wait_until(what: str, happened: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Poll until a condition is true; the limit only ends a wait that could never end."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out after {seconds} s waiting until {what}")
        time.sleep(0.05)


@dataclass
class Store:
    """An S3 store on a port of its own, with one empty bucket."""

    location: str
    container: Container
    port: int
    certificate: Path
    access_key: str
    secret_key: str
    bucket: str = "blobs"
    host: str = "127.0.0.1"

    @property
    def settings(self) -> list[object]:
        """The store's settings in DISTRIBUTED_STORAGE_CONFIG."""
        return [
            "RadosGWStorage",
            {
                "hostname": self.host,
                "port": self.port,
                "is_secure": True,
                "storage_path": "/datastorage/registry",
                "bucket_name": self.bucket,
                "access_key": self.access_key,
                "secret_key": self.secret_key,
            },
        ]

    @cached_property
    def client(self):
        return boto3.client(
            "s3",
            endpoint_url=f"https://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            verify=str(self.certificate),
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                connect_timeout=2,
                read_timeout=10,
                retries={"total_max_attempts": 1},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def objects(self) -> set[str]:
        """Return the keys of all objects except the probe's."""
        return {key for key in self._keys() if not key.endswith(OBJECTS_OF_PROBES)}

    def _keys(self) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {entry["Key"] for page in pages for entry in page.get("Contents", [])}

    def open_uploads(self) -> int:
        answer = self.client.list_multipart_uploads(Bucket=self.bucket)
        return len(answer.get("Uploads", []))

    def empty(self) -> None:
        for key in self._keys():
            self.client.delete_object(Bucket=self.bucket, Key=key)

    @contextmanager
    def fill_up(self) -> Iterator[None]:
        """Let the store refuse writes because its quota is used up."""
        quota = ["--quota-scope=bucket", "--uid=atoll"]
        self._administer("quota", "set", *quota, "--max-size=1")
        self._administer("quota", "enable", *quota)
        try:
            yield
        finally:
            self._administer("quota", "disable", *quota)

    def _administer(self, *words: str) -> None:
        status, output = self.container.exec_run(["radosgw-admin", "--name=client.rgw", *words])
        assert status == 0, output

    def answers(self) -> bool:
        try:
            self.client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                self.client.create_bucket(Bucket=self.bucket)
                return True
            return False
        except BotoCoreError:
            return False
        return True


@dataclass
class Services:
    """The services that a registry needs."""

    postgres: Container
    postgres_uri: str
    redis: Container
    redis_port: int
    us: Store
    eu: Store
    network: str
    redis_host: str = "127.0.0.1"

    def stores(self) -> list[Store]:
        return [self.us, self.eu]

    @property
    def containers(self) -> ContainersManager:
        """The client for all containers of this machine's podman."""
        return self.postgres.manager

    def on_network(self) -> Services:
        """Return the same services with their addresses inside of the containers' network."""
        us, eu = (
            replace(store, host=container_address(store.container, self.network), port=_STORE_PORT)
            for store in self.stores()
        )
        address = container_address(self.postgres, self.network)
        return replace(
            self,
            postgres_uri=f"postgresql://atoll@{address}:5432/postgres",
            redis_host=container_address(self.redis, self.network),
            redis_port=6379,
            us=us,
            eu=eu,
        )


@contextmanager
def podman_client() -> Iterator[podman.PodmanClient]:
    """Return a client of podman's API, in the namespace in which this machine's containers run."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "podman.sock"
        command = [str(NAMESPACE), "podman", "system", "service", "--time=0", f"unix://{path}"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            wait_until("podman's API answers", lambda: _accepts_connections(path))
            # No timeout: how long podman takes depends on the load of the machine.
            with podman.PodmanClient(base_url=f"unix://{path}") as client:
                yield client
        finally:
            process.terminate()
            process.wait()


def _accepts_connections(path: Path) -> bool:
    """Return whether a process accepts connections; the socket's file appears a moment earlier."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@contextmanager
def running_services() -> Iterator[Services]:
    """Start all services in parallel, wait until they answer, and remove them at the end."""
    with podman_client() as client, tempfile.TemporaryDirectory() as directory:
        remove_leftovers(client)
        try:
            yield _start(client, Path(directory))
        finally:
            _remove_own(client)


@contextmanager
def running_postgres() -> Iterator[str]:
    """Start PostgreSQL alone, yield its URI once it answers, and remove it at the end.

    Other services of this process, and other servers that this function started, are not affected.
    """
    with podman_client() as client:
        remove_leftovers(client)
        container = _start_postgres(client, _DEFAULT_NETWORK)
        try:
            uri = _postgres_uri(container)
            wait_until("PostgreSQL answers", lambda: _postgres_answers(uri))
            yield uri
        finally:
            container.remove(force=True, v=True)


def remove_leftovers(client: podman.PodmanClient) -> None:
    """Remove the containers and networks of test processes that have ended."""
    _remove(client, lambda owner: not _is_running(owner))


def _remove_own(client: podman.PodmanClient) -> None:
    """Remove the network of this process and its containers, but no other containers."""
    _remove(client, lambda owner: owner == owner_label(), {"network": _network_name()})


def _remove(
    client: podman.PodmanClient,
    wanted: Callable[[str], bool],
    filters: dict[str, str] | None = None,
) -> None:
    # The processes of one run take turns; otherwise two would remove the same container.
    with _CLEANUP_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = client.containers.list(all=True, filters={"label": LABEL, **(filters or {})})
        for container in found:
            if wanted(container.labels.get(OWNER, "")):
                # A container with automatic removal may be gone by now.
                with suppress(NotFound):
                    container.remove(force=True, v=True)
        for network in client.networks.list(filters={"label": LABEL}):
            if wanted(network.attrs.get("labels", {}).get(OWNER, "")):
                network.remove(force=True)


def _network_name() -> str:
    return f"atoll-tests-{owner_label()}"


def owner_label() -> str:
    """Identify this process by its start time too, because process ids are reused."""
    return f"{os.getpid()}-{_start_time(os.getpid())}"


def _is_running(owner: str) -> bool:
    process, _, started = owner.partition("-")
    return process.isdecimal() and _start_time(int(process)) == started


def _start_time(process: int) -> str | None:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]


def _start(client: podman.PodmanClient, directory: Path) -> Services:
    network, addresses = _make_network(client)
    certificate, key = make_certificate(directory, ["127.0.0.1", *addresses])
    stores = [
        _start_store(client, network, address, directory, location, certificate, key)
        for location, address in zip(("usstorage", "eustorage"), addresses, strict=True)
    ]
    postgres = _start_postgres(client, network)
    redis_container = run_container(
        client,
        network,
        "localhost/atoll-redis:dev",
        "6379/tcp",
        command=["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""],
    )
    uri = _postgres_uri(postgres)
    redis_port = published_port(redis_container, "6379/tcp")
    wait_until("PostgreSQL answers", lambda: _postgres_answers(uri))
    wait_until("Redis answers", lambda: _redis_answers(redis_port))
    for store in stores:
        wait_until(f"{store.location} answers", store.answers)
    return Services(postgres, uri, redis_container, redis_port, *stores, network=network)


def _start_postgres(client: podman.PodmanClient, network: str) -> Container:
    return run_container(
        client,
        network,
        "localhost/atoll-postgres:dev",
        "5432/tcp",
        entrypoint=["/bin/bash", "-c"],
        # A test's database need not survive a crash of the machine.
        command=[
            "initdb -D /tmp/data -U atoll -A trust -E UTF8 --locale=C.UTF-8 >/dev/null &&"
            " echo 'host all all all trust' >>/tmp/data/pg_hba.conf &&"
            " exec postgres -D /tmp/data -c listen_addresses=* -c fsync=off"
            " -c unix_socket_directories=/tmp -c max_connections=200"
        ],
    )


def _postgres_uri(postgres: Container) -> str:
    return f"postgresql://atoll@127.0.0.1:{published_port(postgres, '5432/tcp')}/postgres"


def _make_network(client: podman.PodmanClient) -> tuple[str, list[str]]:
    """Create a network for this run; return its name and addresses for two stores.

    The stores' certificate contains their addresses, so they must be known before the stores start.
    """
    name, _, value = LABEL.partition("=")
    network = client.networks.create(
        _network_name(),
        driver="bridge",
        dns_enabled=False,
        labels={name: value, OWNER: owner_label()},
    )
    subnet = ipaddress.ip_network(network.attrs["subnets"][0]["subnet"])
    return str(network.name), [str(subnet[200]), str(subnet[201])]


def _start_store(
    client: podman.PodmanClient,
    network: str,
    address: str,
    directory: Path,
    location: str,
    certificate: Path,
    key: Path,
) -> Store:
    given = directory / location
    given.mkdir()
    access_key, secret_key = os.urandom(10).hex(), os.urandom(20).hex()
    (given / "access_key").write_text(access_key)
    (given / "secret_key").write_text(secret_key)
    (given / "tls.crt").write_text(certificate.read_text())
    (given / "tls.key").write_text(key.read_text())
    container = run_container(
        client,
        network,
        "localhost/atoll-object-store:18",
        f"{_STORE_PORT}/tcp",
        address=address,
        environment={"STORE_LOCATION": location, "STORE_PORT": str(_STORE_PORT)},
        volumes={str(given): {"bind": "/run/object-store", "mode": "ro"}},
        seccomp_profile_path=str(_seccomp(directory)),
        stop_timeout=60,
    )
    port = published_port(container, f"{_STORE_PORT}/tcp")
    return Store(location, container, port, certificate, access_key, secret_key)


def run_container(
    client: podman.PodmanClient,
    network: str,
    image: str,
    *ports: str,
    address: str | None = None,
    **arguments: object,
) -> Container:
    """Start a container of this run, and publish each of its ports on a free port of 127.0.0.1."""
    name, _, value = LABEL.partition("=")
    with free_ports(len(ports)) as free:
        container = client.containers.create(
            image,
            labels={name: value, OWNER: owner_label()},
            ports={port: ("127.0.0.1", own) for port, own in zip(ports, free, strict=True)},
            network_mode="bridge",
            networks={network: {"static_ips": [address]} if address else {}},
            **arguments,
        )
        container.start()
    container.reload()
    return container


def container_address(container: Container, network: str) -> str:
    """Return the container's address in a network."""
    return str(container.attrs["NetworkSettings"]["Networks"][network]["IPAddress"])


def published_port(container: Container, port: str) -> int:
    """Return the port of 127.0.0.1 on which a container's port is published."""
    return int(container.ports[port][0]["HostPort"])


def _seccomp(directory: Path) -> Path:
    """Write a seccomp profile that lets libaio fall back to an older system call.

    podman's own profile refuses the newer call.
    """
    written = directory / "seccomp.json"
    profile = json.loads(Path("/usr/share/containers/seccomp.json").read_text())
    for rule in profile["syscalls"]:
        rule["names"] = [name for name in rule["names"] if name != "io_pgetevents"]
    written.write_text(json.dumps(profile))
    return written


def make_certificate(directory: Path, addresses: list[str]) -> tuple[Path, Path]:
    """Create a self-signed certificate for IP addresses and host names."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "atoll tests")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "tls.crt", directory / "tls.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def _postgres_answers(uri: str) -> bool:
    try:
        psycopg2.connect(uri, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


def _redis_answers(port: int) -> bool:
    try:
        return bool(redis.Redis(port=port, socket_timeout=2).ping())
    except redis.RedisError:
        return False
