"""A continuous load of pushes and pulls through the load balancer."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clients import Clients

_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_GZIP_MAGIC = b"\x1f\x8b"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Load:
    """A thread that pushes new images and pulls them with skopeo, until the context ends."""

    def __init__(
        self, clients: Clients, folder: Path, repository: str, *, retries: int = 0
    ) -> None:
        self._clients = clients
        self.folder = folder
        self._repository = repository
        self._retries = retries
        self._stop = threading.Event()
        self._image = threading.Lock()
        self._may_begin = threading.Event()
        self._may_begin.set()
        self._thread = threading.Thread(target=self._run)
        # The digests of the pushed images, by name; and the failed operations with their reasons.
        self.pushed: dict[str, str] = {}
        self.pulls = 0
        self.failures: list[str] = []

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            # The lock alone would be taken again before another thread is awake.
            self._may_begin.wait()
            with self._image:
                self._push_and_pull(f"{self._repository}:{number}")

    @contextmanager
    def between_images(self) -> Iterator[None]:
        """Hold the load while no image waits for its pull.

        An image that was just pushed may have its only copy at a store that fails next.
        """
        self._may_begin.clear()
        try:
            with self._image:
                yield
        finally:
            self._may_begin.set()

    def _push_and_pull(self, name: str) -> None:
        layout = self.folder / "layout"
        digest = write_image(layout)
        if not self._attempt(
            "push", f"oci:{layout}:1", f"docker://{self._clients.registry}/{name}"
        ):
            return
        self.pushed[name] = digest
        if self._attempt("pull", f"docker://{self._clients.registry}/{name}", f"dir:{layout}-back"):
            self.pulls += 1

    def _attempt(self, verb: str, source: str, target: str) -> bool:
        reason = copy(self._clients, source, target, retries=self._retries)
        if reason:
            self.failures.append(f"{verb} of {source}: {reason}")
        return not reason


def copy(clients: Clients, source: str, target: str, *, retries: int = 0) -> str:
    """Copy an image with skopeo, and return the error, or "" on success.

    By default there are no retries, because they would hide failures.
    """
    words = [*clients.skopeo_copy, "--preserve-digests", f"--retry-times={retries}"]
    done = subprocess.run([*words, source, target], capture_output=True, text=True, check=False)
    return (done.stderr.strip() or "no error message") if done.returncode else ""


def write_image(layout: Path, size: int = 200_000) -> str:
    """Write an image with random content as a layout with the tag 1, and return its digest."""
    return write_image_of(layout, _tar(os.urandom(size)))


def write_image_of(layout: Path, content: bytes) -> str:
    """Write an image with one layer as a layout with the tag 1, and return its digest.

    Args:
        layout: The directory of the layout, which may exist.
        content: The layer, a tar archive that may be compressed with gzip.
    """
    is_compressed = content.startswith(_GZIP_MAGIC)
    tar = gzip.decompress(content) if is_compressed else content
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def write(content: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    layer = write(content, f"{_LAYER}+gzip" if is_compressed else _LAYER)
    history = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]}
    config = write(
        json.dumps({"architecture": "amd64", "os": "linux", "rootfs": history}).encode(), _CONFIG
    )
    document = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": [layer]}
    manifest = write(json.dumps(document).encode(), _MANIFEST)
    named = manifest | {"annotations": {"org.opencontainers.image.ref.name": "1"}}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(manifest["digest"])


def _tar(content: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()
