"""The module image manages the images of a real podman, in a storage of its own."""

from __future__ import annotations

import base64
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest

ROOT = Path(__file__).resolve().parents[3]
REPOSITORY = "localhost/atoll-image-test"
LOGIN = base64.b64encode(b"robot:pass:word").decode()
WRAPPER = """#!/bin/sh
export CONTAINERS_REGISTRIES_CONF={folder}/registries.conf
exec {namespace} {podman} --root {folder}/root --runroot {folder}/run --storage-driver vfs "$@"
"""


class RegistryRequest(http.server.BaseHTTPRequestHandler):
    """A request to a registry that serves the image of one archive, only with its login."""

    protocol_version = "HTTP/1.1"
    archive: ClassVar[Path]

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != f"Basic {LOGIN}":
            self.answer(401, b"", {"WWW-Authenticate": 'Basic realm="test"'})
            return
        name = self.path.rpartition("/")[2].replace(":", "/")
        with tarfile.open(self.archive) as tar:
            file = tar.extractfile(f"blobs/{name}") if name else None
            body = file.read() if file else b""
        kind = "application/octet-stream"
        if "/manifests/" in self.path:
            kind = "application/vnd.oci.image.manifest.v1+json"
        self.answer(200, body, {"Content-Type": kind})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


class Storage:
    """A podman with a storage of its own."""

    def __init__(self, folder: Path, collections: Path) -> None:
        self._collections = collections
        self.folder = folder
        self._program = folder / "podman"
        namespace = ROOT / "molecule/lab/in-machine-namespace"
        text = WRAPPER.format(namespace=namespace, podman=shutil.which("podman"), folder=folder)
        self._program.write_text(text)
        self._program.chmod(0o755)

    def podman(self, *words: str, given: bytes = b"") -> str:
        done = subprocess.run([self._program, *words], input=given, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def archive(self, content: bytes) -> Path:
        """Write the archive of an image that contains one file."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            member = tarfile.TarInfo("file")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        name, path = f"{REPOSITORY}:dev", self.folder / f"{content.decode()}.tar"
        self.podman("import", "--change", "CMD=/file", "-", name, given=layer.getvalue())
        words = ["save", "--quiet", "--format", "oci-archive", "--uncompressed"]
        self.podman(*words, "--output", str(path), name)
        self.podman("image", "rm", name)
        return path

    def ids(self) -> list[str]:
        return self.podman("images", "--all", "--quiet", "--no-trunc").split()

    def run(self, **arguments: str) -> dict[str, Any]:
        """Run the module as a task does, and return its result."""
        words = ["ansible", "localhost", "--connection=local"]
        words += ["--module-name=atoll.registry.image", f"--args={json.dumps(arguments)}"]
        done = subprocess.run(
            [*words, f"--extra-vars=ansible_python_interpreter={sys.executable}"],
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(self._collections),
                "ANSIBLE_NOCOLOR": "1",
                "PATH": f"{self.folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "=> " in done.stdout, done.stdout + done.stderr
        result: dict[str, Any] = json.loads(done.stdout.partition("=> ")[2])
        return result


@pytest.fixture
def storage(machine):
    # podman refuses long paths, such as those of pytest.
    with tempfile.TemporaryDirectory() as folder:
        yield Storage(Path(folder), machine.home)


@pytest.fixture
def registry(storage):
    """Serve an image over HTTP, and return its name in the registry."""
    archive = storage.archive(b"pulled")
    with tarfile.open(archive) as tar:
        digest = json.load(tar.extractfile("index.json"))["manifests"][0]["digest"]
    handler = type("Request", (RegistryRequest,), {"archive": archive})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{server.server_address[1]}"
    (storage.folder / "registries.conf").write_text(
        f'[[registry]]\nlocation = "{host}"\ninsecure = true\n'
    )
    yield f"{host}/team/atoll@{digest}"
    server.shutdown()
    server.server_close()


def test_an_image_is_pulled_with_the_credentials_of_its_namespace(storage, registry):
    namespace = registry.rpartition("/")[0]
    authfile = storage.folder / "auth.json"
    pull = {"reference": registry, "authfile": str(authfile)}

    refused = storage.run(**pull)
    assert f"The image {registry} cannot be pulled" in refused["msg"]

    authfile.write_text(json.dumps({"auths": {namespace: {"auth": LOGIN}}}))
    assert storage.run(**pull)["changed"] is True
    assert storage.run(**pull)["changed"] is False
    assert storage.run(reference=registry, state="absent")["changed"] is True
    assert storage.ids() == []


def test_images_are_loaded_once_and_kept_while_a_container_uses_them(storage):
    first, second = storage.archive(b"first"), storage.archive(b"second")

    loaded = storage.run(archive=str(first))
    assert loaded["changed"] is True
    assert storage.run(archive=str(first))["changed"] is False
    (used,) = storage.ids()
    container = storage.podman("create", loaded["reference"], "/file")

    replaced = storage.run(archive=str(second))
    assert (replaced["changed"], replaced["removed"]) == (True, [])
    (unused,) = set(storage.ids()) - {used}

    removal = {"reference": replaced["reference"], "state": "absent"}
    assert storage.run(**removal)["removed"] == [unused.removeprefix("sha256:")]
    assert storage.ids() == [used]
    assert storage.podman("ps", "--all", "--quiet", "--no-trunc") == container

    storage.podman("rm", container)
    assert storage.run(**removal)["removed"] == [used.removeprefix("sha256:")]
    assert storage.ids() == []
    assert storage.run(**removal)["changed"] is False
