"""The module image manages the images of a real podman, in a storage of its own."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
REPOSITORY = "localhost/atoll-image-test"
WRAPPER = """#!/bin/sh
exec {namespace} {podman} --root {folder}/root --runroot {folder}/run --storage-driver vfs "$@"
"""


class Storage:
    """A podman with a storage of its own."""

    def __init__(self, folder: Path, collections: Path) -> None:
        self._collections = collections
        self._folder = folder
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
        name, path = f"{REPOSITORY}:dev", self._folder / f"{content.decode()}.tar"
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
                "PATH": f"{self._folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        result: dict[str, Any] = json.loads(done.stdout.partition("=> ")[2])
        return result


@pytest.fixture
def storage(machine):
    # podman refuses long paths, such as those of pytest.
    with tempfile.TemporaryDirectory() as folder:
        yield Storage(Path(folder), machine.home)


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
