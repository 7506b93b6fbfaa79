"""The images that are pushed: OCI layouts whose content is new in each round."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MEBIBYTE = 2**20
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
# Clients compress a layer that does not begin like this; none of them reads further.
_GZIP = bytes.fromhex("1f8b0800000000000003")
_BLOCK = 4 * MEBIBYTE
_CHANGING = 32


@dataclass(frozen=True)
class Shape:
    """The layers of an image.

    Attributes:
        name: the name of the image, in lower case.
        title: the name in tables.
        layers: the sizes in MiB.
    """

    name: str
    title: str
    layers: Sequence[int]

    @property
    def mebibytes(self) -> int:
        """The size of all layers."""
        return sum(self.layers)


IMAGE_A = Shape("a", "A", (40, 30, 10, 1))
IMAGE_B = Shape("b", "B", (120, 100, 80, 50, 6))
IMAGE_C = Shape("c", "C", (5,) * 20)


class Layer:
    """The file of a layer, of which only the last bytes change.

    The state of the hash before them is kept, so that a large layer gets a new digest at once.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._length = size - _CHANGING
        self._hash = hashlib.sha256()
        block = os.urandom(_BLOCK)
        with path.open("wb") as file:
            for offset in range(0, self._length, _BLOCK):
                piece = block[: self._length - offset]
                if not offset:
                    piece = _GZIP + piece[len(_GZIP) :]
                file.write(piece)
                self._hash.update(piece)

    def renew(self) -> None:
        """Change the layer, and name its file after its digest."""
        tail = os.urandom(_CHANGING)
        with self.path.open("r+b") as file:
            file.seek(self._length)
            file.write(tail)
        digest = self._hash.copy()
        digest.update(tail)
        self.path = self.path.rename(self.path.with_name(digest.hexdigest()))


@dataclass(frozen=True)
class Blob:
    """A file with its descriptor."""

    path: Path
    media_type: str
    digest: str
    size: int

    @property
    def descriptor(self) -> dict[str, object]:
        """The OCI descriptor."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


class Image:
    """An image as an OCI layout.

    Args:
        directory: a directory for images; an older image of the same name is replaced.
        shape: its layers.
    """

    def __init__(self, directory: Path, shape: Shape) -> None:
        self.shape = shape
        self.directory = directory / shape.name
        self._blobs = self.directory / "blobs/sha256"
        shutil.rmtree(self.directory, ignore_errors=True)
        self._blobs.mkdir(parents=True)
        (self.directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self._layers = [
            Layer(self._blobs / f"new-{number}", size * MEBIBYTE)
            for number, size in enumerate(shape.layers)
        ]
        self.blobs: list[Blob] = []
        self.renew()
        # Otherwise the kernel would write to the disk during the first measurements.
        os.sync()

    @property
    def size(self) -> int:
        """The size of all blobs."""
        return sum(blob.size for blob in self.blobs)

    @property
    def manifest(self) -> bytes:
        """The bytes of the manifest."""
        config, *layers = (blob.descriptor for blob in self.blobs)
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config,
            "layers": layers,
        }
        return json.dumps(document).encode()

    @property
    def manifest_digest(self) -> str:
        """The digest of the manifest."""
        return f"sha256:{hashlib.sha256(self.manifest).hexdigest()}"

    def renew(self) -> None:
        """Change all blobs, so that no registry has any of them."""
        kept = {layer.path for layer in self._layers}
        for old in self.directory.glob("blobs/sha256/*"):
            if old not in kept:
                old.unlink()
        for layer in self._layers:
            layer.renew()
        config = json.dumps({"os": "linux", "architecture": "amd64", "id": os.urandom(16).hex()})
        self.blobs = [
            self._add(config.encode(), _CONFIG_TYPE),
            *(
                Blob(path, _LAYER_TYPE, f"sha256:{path.name}", path.stat().st_size)
                for path in (layer.path for layer in self._layers)
            ),
        ]
        manifest = self._add(self.manifest, MANIFEST_TYPE)
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [manifest.descriptor]}
        (self.directory / "index.json").write_text(json.dumps(index))

    def remove(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.directory)

    def _add(self, data: bytes, media_type: str) -> Blob:
        digest = hashlib.sha256(data).hexdigest()
        path = self._blobs / digest
        path.write_bytes(data)
        return Blob(path, media_type, f"sha256:{digest}", len(data))
