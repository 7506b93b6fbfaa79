"""The built image as operators run it: `podman run`, a bundle, and two published ports."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
import yaml
from podman.domain.containers import Container

from ..integration.ports import free_ports
from ..integration.services import LABEL, NAMESPACE, OWNER, Services, owner_label, wait_until
from ..integration.site import PASSWORD, SUPERUSER, bundle

# Another build can be tested before it replaces the one that the collection deploys.
IMAGE = os.environ.get("ATOLL_TEST_IMAGE", "localhost/atoll-registry:dev")
PODMAN = (str(NAMESPACE), "podman")
# The options of the collection's units.
_UNIT = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")
# A pod on OpenShift: a user id that /etc/passwd lacks, with group 0. An emptyDir has the mode 0777.
POD_USER = 1_000_680_000
POD = (
    *_UNIT,
    f"--user={POD_USER}:0",
    "--passwd=false",
    "--read-only-tmpfs=false",
    "--tmpfs=/tmp:mode=0777",
)
# With ATOLL_TEST_POD, all tests run the image as a pod does.
RUNS_PODS = bool(os.environ.get("ATOLL_TEST_POD"))
CONFINED = POD if RUNS_PODS else _UNIT
# Registry without TLS, registry with TLS, metrics and health of the instance.
_PORTS = (8080, 8443, 9091)
# The user of the container, who must be able to read the bundle.
USER = POD_USER if RUNS_PODS else 1001


@dataclass
class RunningImage:
    """A running container of the image. Both URLs lead to the same instance."""

    container: Container
    url: str
    tls_url: str
    operations_url: str
    # The self-signed certificate of the registry and of its stores.
    authority: Path
    bundle_directory: Path
    username: str = SUPERUSER
    password: str = PASSWORD

    @property
    def process(self) -> int:
        """The process id of the container's first process on this machine."""
        return int(self.container.attrs["State"]["Pid"])

    def inside(self, path: str) -> Path:
        """Return a path in the container as a path of this machine."""
        return Path(f"/proc/{self.process}/root{path}")

    def log(self) -> str:
        """Return the container's output so far."""
        return podman("logs", str(self.container.id)).stdout

    def run(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as `podman exec` does.

        Args:
            words: the command.
            text: its standard input.
        """
        return podman("exec", "--interactive", str(self.container.id), *words, input=text)

    def session(self) -> requests.Session:
        """Return an HTTP client that trusts the registry and its stores."""
        session = requests.Session()
        # Environment variables of this machine could name another file of CA certificates.
        session.trust_env = False
        session.verify = str(self.authority)
        return session

    def authorize(self, session: requests.Session, name: str, *, url: str | None = None) -> None:
        """Give a session a token to push to and pull from a repository."""
        answer = session.get(
            f"{url or self.url}/v2/auth",
            params={"service": "registry.test", "scope": f"repository:{name}:pull,push"},
            auth=(self.username, self.password),
        )
        assert answer.status_code == 200, answer.text
        session.headers["Authorization"] = f"Bearer {answer.json()['token']}"


def podman(*words: str, **arguments: object) -> subprocess.CompletedProcess[str]:
    """Run podman, with standard error merged into standard output."""
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [*PODMAN, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **arguments,
    )


def write_bundle(
    services: Services,
    database: str,
    directory: Path,
    changes: dict[str, object | None] | None = None,
) -> Path:
    """Write a bundle with TLS, as on a host, with changed keys; None removes a key."""
    stack = directory / "stack"
    (stack / "extra_ca_certs").mkdir(parents=True)
    keys = bundle(services.on_network(), database) | (changes or {})
    text = yaml.safe_dump({key: value for key, value in keys.items() if value is not None})
    (stack / "config.yaml").write_text(text)
    certificate = services.us.certificate
    shutil.copy(certificate, stack / "ssl.cert")
    shutil.copy(certificate.with_suffix(".key"), stack / "ssl.key")
    shutil.copy(certificate, stack / "extra_ca_certs/stores.crt")
    for path in (stack, *stack.rglob("*")):
        os.chown(path, USER, USER)
    (stack / "ssl.key").chmod(0o600)
    return stack


@contextmanager
def running_image(
    services: Services,
    stack: Path,
    *,
    preference: str = "usstorage eustorage",
    options: tuple[str, ...] = CONFINED,
    words: tuple[str, ...] = (),
) -> Iterator[RunningImage]:
    """Run the image with a bundle until the block ends; wait until it is healthy.

    Args:
    options: options of `podman run`.
    words: the container's command.
    """
    container = start(services, stack, preference=preference, options=options, words=words)
    try:
        running = RunningImage(
            container,
            f"http://127.0.0.1:{_port(container, 8080)}",
            f"https://127.0.0.1:{_port(container, 8443)}",
            f"http://127.0.0.1:{_port(container, 9091)}",
            services.us.certificate,
            stack,
        )
        _wait_until_healthy(running)
        yield running
    finally:
        podman("rm", "--force", "--volumes", "--ignore", str(container.id))


def start(
    services: Services,
    stack: Path,
    *,
    preference: str = "usstorage eustorage",
    options: tuple[str, ...] = CONFINED,
    words: tuple[str, ...] = (),
) -> Container:
    """Start a container of the image as documented, on free ports."""
    with free_ports(len(_PORTS)) as free:
        answer = podman(
            "run",
            "--detach",
            f"--label={LABEL}",
            f"--label={OWNER}={owner_label()}",
            f"--network={services.network}",
            *(f"-p=127.0.0.1:{own}:{port}" for port, own in zip(_PORTS, free, strict=True)),
            "-v",
            f"{stack}:/conf/stack:Z",
            "-e",
            f"QUAY_DISTRIBUTED_STORAGE_PREFERENCE={preference}",
            *options,
            IMAGE,
            *words,
        )
    assert answer.returncode == 0, answer.stdout
    return services.containers.get(answer.stdout.split()[-1])


def run_once(
    services: Services, stack: Path | None, *words: str, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command of the image that ends by itself, with `text` on its standard input."""
    mount = ("-v", f"{stack}:/conf/stack:Z") if stack else ()
    return podman(
        "run",
        "--rm",
        "--interactive",
        f"--label={LABEL}",
        f"--label={OWNER}={owner_label()}",
        f"--network={services.network}",
        *mount,
        *CONFINED,
        IMAGE,
        *words,
        input=text,
    )


def _port(container: Container, port: int) -> int:
    return int(container.ports[f"{port}/tcp"][0]["HostPort"])


def _wait_until_healthy(running: RunningImage) -> None:
    session = running.session()

    def is_healthy() -> bool:
        running.container.reload()
        # With an invalid bundle the container ends; its own output is the best error message.
        assert running.container.status == "running", running.log()
        try:
            return session.get(f"{running.url}/health/endtoend").status_code == 200
        except requests.ConnectionError:
            return False

    try:
        wait_until("the image is healthy end to end", is_healthy)
    except AssertionError as error:
        raise AssertionError(f"{error}\nLog of the container:\n{running.log()}") from error


def begin_slow_download(
    running: RunningImage, session: requests.Session, path: str, accept: str = "*/*"
) -> socket.socket:
    """Request a path, and read nothing of the response.

    The connection is closed at the end of the response, so a client that reads until then gets all
    of it.
    """
    address = urlsplit(running.url)
    connection = socket.socket()
    # The kernel must not buffer the whole response.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((address.hostname, address.port))
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAccept: {accept}\r\n"
        f"Authorization: {session.headers['Authorization']!s}\r\nConnection: close\r\n\r\n".encode()
    )
    return connection


def begin_upload(session: requests.Session, url: str, name: str) -> str:
    """Begin an upload to a repository and return its location."""
    answer = session.post(f"{url}/v2/{name}/blobs/uploads/")
    assert answer.status_code == 202, answer.text
    return urljoin(url, answer.headers["Location"])


def push_blob(session: requests.Session, url: str, name: str, data: bytes) -> str:
    """Push a small blob and return its digest."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    location = begin_upload(session, url, name)
    answer = session.put(location, params={"digest": digest}, data=data)
    assert answer.status_code == 201, answer.text
    return digest
