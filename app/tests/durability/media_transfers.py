"""Two registries between which media carry images, and commands that write and read media."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from atoll.auth.users import create_user
from atoll.names import Digest, RepositoryName
from atoll.placement.upkeep.garbage import Collector
from atoll.registry.manifest_cache import ManifestCache
from atoll.registry.untagged_manifests import UntaggedManifests

from ..caches import RecordingCache
from .commands import run_command
from .media import (
    APP,
    command,
    forget_repositories,
    image,
    shared_registry,
)
from .sites import SUPERUSER, MemoryRegistry, MemorySite

# More than one part of a multipart upload.
LARGE = bytes(range(256)) * (10 * 2**20 // 256)
USER_NAME = "importer"


class Run:
    """Runs exports of all repositories, and imports."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def export(self, site: MemorySite, path: Path, *words: str | Path) -> None:
        code, result = command(
            site, self._capsys, "export", "--all-of", SUPERUSER, "--to", path, *words
        )
        assert code == 0, result

    def load(self, site: MemorySite, *paths: Path, username: str = SUPERUSER) -> tuple[int, Any]:
        return command(site, self._capsys, "import", *paths, "--as", username)

    def text(self, site: MemorySite, path: Path) -> list[str]:
        self._capsys.readouterr()
        run_command(site, "import", str(path), "--as", SUPERUSER)
        return self._capsys.readouterr().out.splitlines()


@pytest.fixture(scope="session")
def connected(
    postgres_uri: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MemoryRegistry]:
    """A registry that exports."""
    with shared_registry(postgres_uri, template, tmp_path_factory.mktemp("connected")) as made:
        yield made


@pytest.fixture(scope="session")
def isolated(
    postgres_uri: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MemoryRegistry]:
    """A registry that imports, with the user USER_NAME."""
    with shared_registry(postgres_uri, template, tmp_path_factory.mktemp("isolated")) as made:
        create_user(made["us"].database, USER_NAME, None, "correct horse battery")
        yield made


@pytest.fixture
def source(connected: MemoryRegistry) -> MemorySite:
    """The exporting site, without repositories."""
    forget_repositories(connected)
    return connected["us"]


@pytest.fixture
def target(isolated: MemoryRegistry) -> MemorySite:
    """The importing site, without repositories."""
    forget_repositories(isolated)
    return isolated["us"]


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """The path of a medium."""
    return tmp_path / "medium"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs commands."""
    return Run(capsys)


def image_of(site: MemorySite) -> MemorySite:
    image(site, b"small", tag="1.0")
    return site


def tags(site: MemorySite) -> dict[str, str]:
    rows = site.database.read(
        "SELECT r.name || ':' || t.name, m.digest FROM tag t"
        " JOIN manifest m ON m.id = t.manifest_id JOIN repository r ON r.id = t.repository_id"
        " WHERE t.lifetime_end_ms IS NULL"
    )
    return dict(rows)


def readable(site: MemorySite, digest: Digest, name: RepositoryName = APP) -> bytes:
    blob = site.graph.blobs.find(name, digest)
    return b"".join(site.graph.blobs.read(blob, 0, blob.size))


def awaited(site: MemorySite) -> int:
    rows = site.database.read(
        "SELECT (SELECT count(*) FROM awaitedtag) + (SELECT count(*) FROM awaitedmanifest)"
    )
    return int(rows[0][0])


def collect_garbage(site: MemorySite) -> None:
    """Collect what is not kept for longer than a day."""
    site.database.run("UPDATE manifest SET pushed_at = now() - interval '1 day'")
    site.database.run("UPDATE uploadedblob SET expires_at = expires_at - interval '1 day'")
    cache = ManifestCache(site.graph.redis)
    UntaggedManifests(site.database, site.graph.bundle, cache).step()
    Collector(site.database, site.graph.bundle, RecordingCache()).step()
