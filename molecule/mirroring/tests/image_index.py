"""Write an image index of two architectures as an OCI layout."""

import hashlib
import json
from pathlib import Path

from load import write_image

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def write_index(layout: Path) -> str:
    """Write an index with random content and the tag 1, and return its digest."""
    blobs = layout / "blobs/sha256"
    children = []
    for architecture in ("amd64", "arm64"):
        digest = write_image(layout)
        size = (blobs / digest.removeprefix("sha256:")).stat().st_size
        platform = {"architecture": architecture, "os": "linux"}
        child = {"mediaType": _MANIFEST, "digest": digest, "size": size, "platform": platform}
        children.append(child)
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": children}
    content = json.dumps(index).encode()
    name = hashlib.sha256(content).hexdigest()
    (blobs / name).write_bytes(content)
    entry = {"mediaType": _INDEX, "digest": f"sha256:{name}", "size": len(content)}
    entry["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return f"sha256:{name}"
