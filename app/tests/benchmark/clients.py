"""Pushes and pulls with real clients, and the programs that set the limits."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from .arena import WORK, Arena, Finished
from .concurrent_push import Work
from .content import MANIFEST_TYPE, Image
from .errors import BenchmarkError
from .registry import Server, auth_file

# The bytes are sent as fast as the store accepts them: without a hash of each part.
_RCLONE = (
    "rclone",
    "copy",
    "--s3-chunk-size=8Mi",
    "--s3-upload-cutoff=8Mi",
    "--s3-use-unsigned-payload=true",
    "--s3-no-check-bucket",
)


@dataclass(frozen=True)
class Limit:
    """How long the store and the hash need for the files of an image.

    Attributes:
        put: seconds of rclone to put them into the store.
        get: seconds of rclone to get them again.
        sha256sum: seconds of this machine's sha256sum.
        processor: the processor time of that in seconds.
        fast_sha256sum: seconds of the sha256sum of Debian 13, which is fast where the processor has
            instructions for SHA-256; that of Debian 12 does not use them.
    """

    put: float
    get: float
    sha256sum: float
    processor: float
    fast_sha256sum: float


class Clients:
    """The clients of one part, with a bucket for rclone.

    Args:
        arena: the network and its programs.
        servers: the registries that are pushed to.
    """

    def __init__(self, arena: Arena, servers: list[Server]) -> None:
        self._arena = arena
        self._pulled = arena.work / "pulled"
        self._bucket: str | None = None
        logins = arena.work / "auth.json"
        logins.touch(mode=0o600)
        logins.write_text(auth_file(servers))
        self._environment = {"REGISTRY_AUTH_FILE": str(WORK / logins.name)}

    def push(self, server: Server, image: Image, tag: str) -> Finished:
        """Push an image with skopeo, which sends its layers one after another."""
        source = f"oci:{WORK / image.shape.name}"
        words = ("--dest-tls-verify=false", source, _reference(server, image, tag))
        return self._skopeo(*words)

    def pull(
        self, server: Server, image: Image, tag: str, repository: str | None = None
    ) -> Finished:
        """Pull an image with skopeo into a directory, by default from that of the image."""
        shutil.rmtree(self._pulled, ignore_errors=True)
        target = f"dir:{WORK / self._pulled.name}"
        pulled = self._skopeo(
            "--src-tls-verify=false", _reference(server, image, tag, repository), target
        )
        shutil.rmtree(self._pulled)
        return pulled

    def push_at_once(
        self, server: Server, image: Image, tag: str, repository: str | None = None
    ) -> Finished:
        """Push an image with several layers at the same time, as podman and docker do."""
        repository = repository or repository_of(image)
        # Only a token with both actions permits a push.
        authorization = server.bearer(repository, "pull,push").get("Authorization", "")
        work = Work(
            server.host,
            repository,
            tag,
            authorization,
            [(blob.digest, str(blob.path)) for blob in image.blobs],
            image.manifest.decode(),
            MANIFEST_TYPE,
        )
        file = self._arena.directory / "push.json"
        file.touch(mode=0o600)
        file.write_text(work.as_json())
        done = self._arena.run_module("concurrent_push", str(file))
        return Finished(done.output, float(done.output), done.processor)

    def measure_limit(self, image: Image, *, get: bool = False) -> Limit:
        """Measure what no registry can fall below that sends and hashes all bytes in turn."""
        if self._bucket is None:
            self._bucket = "limit"
            self._arena.store.create_bucket(self._bucket)
        environment = self._arena.rclone_environment()
        source = str(WORK / image.shape.name / "blobs/sha256")
        target = f"store:{self._bucket}/{image.manifest_digest.removeprefix('sha256:')}"
        put = self._arena.run([*_RCLONE, source, target], environment).seconds
        got = 0.0
        if get:
            words = [*_RCLONE, target, str(WORK / self._pulled.name)]
            got = self._arena.run(words, environment).seconds
            shutil.rmtree(self._pulled)
        hashed = self._arena.run_here(["sha256sum", *(str(blob.path) for blob in image.blobs)])
        _require_digests(hashed.output, image)
        inside = [str(WORK / blob.path.relative_to(self._arena.work)) for blob in image.blobs]
        fast = self._arena.run(["sha256sum", *inside])
        _require_digests(fast.output, image)
        return Limit(put, got, hashed.seconds, hashed.processor, fast.seconds)

    def free(self) -> None:
        """Give the space of rclone's files back."""
        if self._bucket is not None:
            self._arena.store.remove_bucket(self._bucket)
            self._bucket = None

    def _skopeo(self, *words: str) -> Finished:
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", *words]
        return self._arena.run(command, self._environment)


def _require_digests(output: str, image: Image) -> None:
    for line, blob in zip(output.splitlines(), image.blobs, strict=True):
        if not blob.digest.endswith(line.split()[0]):
            raise BenchmarkError(f"{blob.path} does not have its digest")


def repository_of(image: Image) -> str:
    """Return the repository to which an image is pushed."""
    return f"admin/{image.shape.name}"


def _reference(server: Server, image: Image, tag: str, repository: str | None = None) -> str:
    return f"docker://{server.host}/{repository or repository_of(image)}:{tag}"
