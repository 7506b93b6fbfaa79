"""Real clients in one container, each with its own commands for push and pull."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..integration.services import LABEL, OWNER, owner_label, wait_until
from .protocol import Registry
from .running import RunningImage, podman

IMAGE = "localhost/atoll-engines:13"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# What every client pushes: an image with one layer, as an OCI layout and as the archives of two
# engines.
_MAKE_IMAGE = """
set -e
head -c 3000 /dev/urandom >/scratch/payload
container=$(buildah from scratch)
buildah copy --quiet "$container" /scratch/payload /payload
buildah commit --quiet "$container" localhost/source:1
buildah rm "$container"
buildah push --quiet localhost/source:1 oci:/scratch/layout:1
skopeo copy --quiet oci:/scratch/layout:1 oci-archive:/scratch/oci.tar:localhost/source:1
skopeo copy --quiet oci:/scratch/layout:1 docker-archive:/scratch/docker.tar:localhost/source:1
docker load --quiet --input /scratch/docker.tar
ctr images import --local --no-unpack /scratch/oci.tar
"""


@dataclass
class Engines:
    """The container with the clients. It trusts the registry and is logged in."""

    identity: str

    def run(self, *words: str, **variables: str) -> str:
        """Run a client and return its output; if it fails, raise an error with that."""
        environment = [f"--env={name}={value}" for name, value in variables.items()]
        answer = podman("exec", *environment, self.identity, *words)
        assert answer.returncode == 0, f"{shlex.join(words)}\n{answer.stdout}"
        return answer.stdout

    def is_running(self, *words: str) -> bool:
        return podman("exec", self.identity, *words).returncode == 0


@contextmanager
def running_engines(image: RunningImage, directory: Path) -> Iterator[Engines]:
    """Start the clients, and wait until the two with a daemon answer."""
    answer = podman(
        "run",
        "--detach",
        "--privileged",
        "--network=host",
        f"--label={LABEL}",
        f"--label={OWNER}={owner_label()}",
        f"--volume={_configuration(image, directory)}:/root/.docker:ro",
        f"--volume={image.authority}:/authority.crt:ro",
        "--volume=/scratch",
        # The certificates of the registry and of its stores have the same CA.
        "--env=SSL_CERT_FILE=/authority.crt",
        "--env=REGISTRY_AUTH_FILE=/root/.docker/config.json",
        IMAGE,
    )
    assert answer.returncode == 0, answer.stdout
    engines = Engines(answer.stdout.split()[-1])
    try:
        _wait_until_daemons_answer(engines)
        engines.run("bash", "-c", _MAKE_IMAGE)
        yield engines
    finally:
        podman("rm", "--force", "--volumes", engines.identity)


def _wait_until_daemons_answer(engines: Engines) -> None:
    try:
        wait_until(
            "containerd and Docker answer",
            lambda: engines.is_running("ctr", "version") and engines.is_running("docker", "info"),
        )
    except AssertionError as error:
        log = podman("logs", engines.identity).stdout
        raise AssertionError(f"{error}\nLog of the daemons:\n{log}") from error


def _configuration(image: RunningImage, directory: Path) -> Path:
    """Write the credentials, as `docker login` does, for both addresses of the registry."""
    login = base64.b64encode(f"{image.username}:{image.password}".encode()).decode()
    hosts = [urlsplit(url).netloc for url in (image.url, image.tls_url)]
    directory.mkdir()
    text = json.dumps({"auths": {host: {"auth": login} for host in hosts}})
    (directory / "config.json").write_text(text)
    return directory


class Client:
    """The commands of one client for push and pull, with and without TLS."""

    plain: tuple[str, ...] = ("--tls-verify=false",)

    def __init__(self, engines: Engines, registry: Registry) -> None:
        address = urlsplit(registry.url)
        self._engines = engines
        self._login = f"{registry.username}:{registry.password}"
        self._without_tls = address.scheme == "http"
        self._host = address.netloc

    def push(self, name: str) -> None:
        """Push the image under a name with a tag."""
        raise NotImplementedError

    def pull(self, name: str) -> str:
        """Pull an image with all its layers, and return the digest that the client computed."""
        raise NotImplementedError

    def _run(self, *words: str) -> str:
        return self._engines.run(*words)

    def _flags(self, *plain: str) -> tuple[str, ...]:
        return (plain or self.plain) if self._without_tls else ()

    def _reference(self, name: str) -> str:
        return f"{self._host}/{name}"

    def _empty_storage(self) -> tuple[str, ...]:
        """Return options for an empty storage, where an image has one manifest and one digest."""
        self._run("rm", "-rf", "/scratch/storage")
        return (
            "--root=/scratch/storage/root",
            "--runroot=/scratch/storage/run",
            "--storage-driver=vfs",
        )


class Podman(Client):
    def push(self, name: str) -> None:
        self._run("podman", "push", *self._flags(), "localhost/source:1", self._reference(name))

    def pull(self, name: str) -> str:
        reference = self._reference(name)
        storage = self._empty_storage()
        self._run("podman", *storage, "pull", "--quiet", *self._flags(), reference)
        return self._run("podman", *storage, "image", "inspect", "--format={{.Digest}}", reference)


class Buildah(Client):
    def push(self, name: str) -> None:
        target = f"docker://{self._reference(name)}"
        self._run("buildah", "push", *self._flags(), "localhost/source:1", target)

    def pull(self, name: str) -> str:
        reference = self._reference(name)
        storage = self._empty_storage()
        self._run("buildah", *storage, "pull", "--quiet", *self._flags(), reference)
        words = ("inspect", "--type=image", "--format={{.FromImageDigest}}")
        return self._run("buildah", *storage, *words, reference)


class Skopeo(Client):
    def push(self, name: str) -> None:
        target = f"docker://{self._reference(name)}"
        plain = self._flags("--dest-tls-verify=false")
        self._run("skopeo", "copy", *plain, "oci:/scratch/layout:1", target)

    def pull(self, name: str) -> str:
        source = f"docker://{self._reference(name)}"
        plain = self._flags("--src-tls-verify=false")
        self._run("rm", "-rf", "/scratch/pulled")
        words = ("--digestfile=/scratch/digest", "--preserve-digests")
        self._run("skopeo", "copy", *plain, *words, source, "dir:/scratch/pulled")
        return self._run("cat", "/scratch/digest")


class Oras(Client):
    def push(self, name: str) -> None:
        plain = self._flags("--to-plain-http")
        self._run(
            "oras", "copy", *plain, "--from-oci-layout", "/scratch/layout:1", self._reference(name)
        )

    def pull(self, name: str) -> str:
        plain = self._flags("--from-plain-http")
        self._run("rm", "-rf", "/scratch/copied")
        layout = "/scratch/copied:1"
        self._run("oras", "copy", *plain, "--to-oci-layout", self._reference(name), layout)
        return self._run("oras", "manifest", "fetch", "--descriptor", "--oci-layout", layout)


class Docker(Client):
    """Docker uses plain HTTP by itself for addresses of this machine."""

    def push(self, name: str) -> None:
        self._run("docker", "tag", "localhost/source:1", self._reference(name))
        self._run("docker", "push", "--quiet", self._reference(name))
        self._run("docker", "image", "rm", self._reference(name))

    def pull(self, name: str) -> str:
        reference = self._reference(name)
        self._run("docker", "pull", "--quiet", reference)
        found = self._run("docker", "image", "inspect", "--format={{json .RepoDigests}}", reference)
        self._run("docker", "image", "rm", reference)
        repository = reference.rpartition(":")[0]
        return next(entry for entry in json.loads(found) if entry.startswith(f"{repository}@"))


class Containerd(Client):
    """containerd's `ctr`."""

    plain = ("--plain-http",)

    def push(self, name: str) -> None:
        words = ("--local", *self._flags(), f"--user={self._login}", self._reference(name))
        self._run("ctr", "images", "push", *words, "localhost/source:1")

    def pull(self, name: str) -> str:
        reference = self._reference(name)
        words = ("--local", *self._flags(), f"--user={self._login}", "--snapshotter=native")
        self._run("ctr", "images", "pull", *words, reference)
        found = self._run("ctr", "images", "ls", f"name=={reference}")
        self._run("ctr", "images", "rm", "--sync", reference)
        return found


CLIENTS: dict[str, Callable[[Engines, Registry], Client]] = {
    "podman": Podman,
    "skopeo": Skopeo,
    "buildah": Buildah,
    "oras": Oras,
    "docker": Docker,
    "ctr": Containerd,
}


def digest_in(text: str) -> str:
    """Return the only digest in a text."""
    (found,) = set(_DIGEST.findall(text))
    return found
