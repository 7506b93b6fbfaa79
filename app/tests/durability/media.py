"""Images to export, and what a medium has."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from atoll.names import Digest, RepositoryName

from .commands import run_command
from .databases import administer, database_uri
from .sites import (
    MANIFEST_TYPE,
    SUPERUSER,
    MemoryRegistry,
    MemorySite,
    image_manifest,
    make_registry,
)

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
APP = RepositoryName(SUPERUSER, "app")
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'


def put(
    site: MemorySite, content: bytes, tag: str | None = None, name: RepositoryName = APP
) -> Digest:
    """Push a manifest by its digest or under a tag."""
    digest = Digest.of(content)
    media_type = json.loads(content)["mediaType"]
    site.graph.manifests.put(
        name, tag or str(digest), content, media_type, tags=[], username=SUPERUSER
    )
    return digest


def image(
    site: MemorySite,
    *layers: bytes,
    tag: str | None = None,
    name: RepositoryName = APP,
    config: bytes = CONFIG,
    **more: object,
) -> Digest:
    """Push an image with these layers; `more` are members of its manifest."""
    mine, site.repository = site.repository, name
    for blob in (config, *layers):
        site.push(blob)
    site.repository = mine
    content = json.loads(image_manifest(config, list(layers))) | more
    return put(site, json.dumps(content).encode(), tag, name)


def index(site: MemorySite, *children: Digest, tag: str | None = None) -> Digest:
    """Push an index of images for different architectures."""
    listed = [
        {
            "mediaType": MANIFEST_TYPE,
            "digest": str(child),
            "size": len(site.graph.manifests.get(APP, str(child)).content),
            "platform": {"architecture": f"arch{number}", "os": "linux"},
        }
        for number, child in enumerate(children)
    ]
    document = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": listed}
    return put(site, json.dumps(document).encode(), tag)


def referrer(site: MemorySite, subject: Digest, content: bytes) -> Digest:
    """Push an artifact that refers to a manifest."""
    return image(
        site,
        content,
        config=b"{}",
        artifactType="application/vnd.example.sbom",
        subject={"mediaType": MANIFEST_TYPE, "digest": str(subject), "size": 1},
    )


def command(
    site: MemorySite, capsys: pytest.CaptureFixture[str], *words: str | Path
) -> tuple[int, Any]:
    """Run a command with --json; return its exit code, and its result or error."""
    capsys.readouterr()
    code = run_command(site, *map(str, words), "--json")
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else captured.err


def blob_file(medium: Path, digest: Digest) -> Path:
    """Return the file of a blob."""
    return medium / "blobs" / digest.algorithm / digest.hex


def blob_files(medium: Path) -> set[str]:
    """Return the names of all files of blobs."""
    return {one.name for one in (medium / "blobs").rglob("*") if one.is_file()}


def skopeo(*words: str) -> bytes:
    """Run skopeo, and return what it prints."""
    program = shutil.which("skopeo")
    assert program is not None, "skopeo is not installed; `make setup` installs it"
    done = subprocess.run([program, *words], check=True, capture_output=True)
    return done.stdout


@contextmanager
def shared_registry(postgres_uri: str, template: str, directory: Path) -> Iterator[MemoryRegistry]:
    """Return a registry for several tests, which call `forget_repositories` before each."""
    name = f"test_{uuid.uuid4().hex}"
    administer(postgres_uri, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield make_registry(database_uri(postgres_uri, name), directory, ["us", "eu"])
    finally:
        administer(postgres_uri, f"DROP DATABASE {name} WITH (FORCE)")


def forget_repositories(registry: MemoryRegistry) -> None:
    """Delete all repositories and end all faults; the stores keep their objects."""
    registry["us"].database.run("DELETE FROM repository")
    for store in registry.stores.values():
        store.wrong_bytes.clear()
        store.unreadable.clear()
        store.fault = None
