"""`atoll import` stores the images of media, in any order, and refuses damaged media."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from atoll.auth.permissions import USER, Permissions
from atoll.auth.users import create_user
from atoll.media.import_records import ImportRecords
from atoll.media.importer import Importer
from atoll.names import Digest, RepositoryName
from atoll.placement.upkeep.garbage import Collector
from atoll.registry.manifest_cache import ManifestCache
from atoll.registry.manifests import Manifests
from atoll.registry.referrers import Referrers
from atoll.registry.untagged_manifests import UntaggedManifests
from atoll.storage.base import blob_key
from atoll.storage.errors import StoreUnavailable

from ..caches import RecordingCache
from .commands import run_command
from .media import (
    APP,
    CONFIG,
    blob_file,
    command,
    forget_repositories,
    image,
    index,
    referrer,
    shared_registry,
)
from .mirrored import ROBOT, make_mirror
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


@pytest.fixture(scope="module")
def connected(
    postgres_uri: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MemoryRegistry]:
    with shared_registry(postgres_uri, template, tmp_path_factory.mktemp("connected")) as made:
        yield made


@pytest.fixture(scope="module")
def isolated(
    postgres_uri: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MemoryRegistry]:
    with shared_registry(postgres_uri, template, tmp_path_factory.mktemp("isolated")) as made:
        create_user(made["us"].database, USER_NAME, None, "correct horse battery")
        yield made


@pytest.fixture
def source(connected: MemoryRegistry) -> MemorySite:
    forget_repositories(connected)
    return connected["us"]


@pytest.fixture
def target(isolated: MemoryRegistry) -> MemorySite:
    forget_repositories(isolated)
    return isolated["us"]


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    return tmp_path / "medium"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


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


# Everything arrives ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["medium", "medium.tar"])
def test_an_import_yields_equal_digests_and_a_second_one_changes_nothing(
    source: MemorySite, target: MemorySite, tmp_path: Path, run: Run, name: str
) -> None:
    plain = image(source, LARGE, b"small", tag="1.0")
    index(source, plain, image(source, b"arm"), tag="2.0")
    image(source, b"", tag="1.0", name=RepositoryName(SUPERUSER, "other"))
    sbom = referrer(source, plain, b"sbom")
    image(source, b"signature", tag=f"sha256-{plain.hex}.sig")
    run.export(source, tmp_path / name)
    code, result = run.load(target, tmp_path / name)
    assert (code, result["waiting"], result["failures"]) == (0, [], [])
    assert tags(target) == tags(source)
    assert readable(target, Digest.of(LARGE)) == LARGE
    found, _ = Referrers(target.database).list(APP, plain, None, 0)
    assert [one.digest for one in found] == [str(sbom)]
    logged = target.database.read(
        "SELECT DISTINCT performer FROM logentry WHERE kind = 'push_repo'"
    )
    assert logged == [[SUPERUSER]]
    writes = target.stores["us"].requests["put"]
    code, result = run.load(target, tmp_path / name)
    assert (code, target.stores["us"].requests["put"]) == (0, writes)
    assert [one["switched"] for one in result["repositories"]] == [0, 0]
    assert {one["bytes_copied"] for one in result["repositories"]} == {0}


def fail_to_finish(operation: str, _key: str) -> None:
    if operation == "finish_parts":
        raise StoreUnavailable("us", "down")


def test_an_import_that_lost_its_store_continues(
    source: MemorySite, target: MemorySite, medium: Path, run: Run
) -> None:
    image(source, b"lost" + LARGE, b"small", tag="1.0")
    run.export(source, medium)
    for store in target.stores.values():
        store.fault = fail_to_finish
    code, error = run.load(target, medium)
    assert (code, tags(target)) == (69, {})
    assert "repeat the command" in error
    for store in target.stores.values():
        store.fault = None
    code, result = run.load(target, medium)
    assert (code, tags(target)) == (0, tags(source))
    assert result["repositories"][0]["bytes_present"] > 0


# Rights ------------------------------------------------------------------------------------


def test_the_rights_of_the_importer_apply_before_anything_changes(
    source: MemorySite, target: MemorySite, medium: Path, run: Run
) -> None:
    image(source, b"layer", tag="1.0")
    image(source, b"layer", tag="1.0", name=RepositoryName(SUPERUSER, "other"))
    run.export(source, medium)
    for name in ("app", "other"):
        target.graph.repositories.create(RepositoryName(SUPERUSER, name), "private")
    permissions = Permissions(target.database)
    permissions.put(APP, USER, USER_NAME, "write")
    permissions.put(RepositoryName(SUPERUSER, "other"), USER, USER_NAME, "read")
    code, error = run.load(target, medium, username=USER_NAME)
    assert (code, tags(target)) == (1, {})
    assert "'importer' may not push to the repository 'admin/other'" in error
    permissions.put(RepositoryName(SUPERUSER, "other"), USER, USER_NAME, "write")
    assert run.load(target, medium, username=USER_NAME)[0] == 0
    code, error = run.load(target, medium, username="nobody")
    assert code == 1
    assert "there is no enabled user or robot 'nobody'" in error


def test_only_its_robot_imports_to_a_mirror(
    source: MemorySite, target: MemorySite, medium: Path, run: Run
) -> None:
    image(source, b"layer", tag="1.0")
    run.export(source, medium)
    make_mirror(target, APP)
    target.database.run("UPDATE repository SET state = 'MIRROR'")
    assert run.load(target, medium)[0] == 1
    assert run.load(target, medium, username=ROBOT)[0] == 0
    assert tags(target) == tags(source)


# Damaged media -----------------------------------------------------------------------------


def truncate(medium: Path) -> str:
    path = blob_file(medium, Digest.of(LARGE))
    os.truncate(path, 1000)
    return path.name


def alter(medium: Path) -> str:
    path = blob_file(medium, Digest.of(LARGE))
    path.write_bytes(LARGE[::-1])
    return path.name


def alter_small(medium: Path) -> str:
    path = blob_file(medium, Digest.of(b"small"))
    path.write_bytes(b"SMALL")
    return path.name


def alter_manifest(medium: Path) -> str:
    [path] = [one for one in (medium / "blobs/sha256").iterdir() if b"config" in one.read_bytes()]
    path.write_bytes(path.read_bytes().replace(b"config", b"konfig"))
    return path.name


def omit(medium: Path) -> str:
    path = blob_file(medium, Digest.of(LARGE))
    path.unlink()
    return path.name


def omit_checksums(medium: Path) -> str:
    (medium / "SHA256SUMS").unlink()
    return "SHA256SUMS"


def alter_index(medium: Path) -> str:
    (medium / "index.json").write_bytes(b"{}")
    return "index.json"


def alter_description(medium: Path) -> str:
    path = medium / "atoll-medium.json"
    path.write_bytes(path.read_bytes().replace(b"1.0", b"2.0"))
    return "atoll-medium.json"


def enlarge_description(medium: Path) -> str:
    os.truncate(medium / "atoll-medium.json", 2**40)
    return "atoll-medium.json"


def link(medium: Path) -> str:
    path = blob_file(medium, Digest.of(LARGE))
    path.rename(medium.parent / "elsewhere")
    path.symlink_to(medium.parent / "elsewhere")
    return path.name


def link_directory(medium: Path) -> str:
    (medium / "blobs").rename(medium.parent / "blobs")
    (medium / "blobs").symlink_to(medium.parent / "blobs")
    return "blobs"


def pipe(medium: Path) -> str:
    path = blob_file(medium, Digest.of(LARGE))
    path.unlink()
    os.mkfifo(path)
    return path.name


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        alter,
        alter_small,
        alter_manifest,
        omit,
        omit_checksums,
        alter_index,
        alter_description,
        enlarge_description,
        link,
        link_directory,
        pipe,
    ],
)
def test_a_damaged_medium_is_refused_and_changes_no_tag(
    source: MemorySite,
    target: MemorySite,
    medium: Path,
    run: Run,
    damage: Callable[[Path], str],
) -> None:
    before = image(target, b"before", tag="1.0")
    image(source, LARGE, b"small", tag="1.0")
    run.export(source, medium)
    intact = medium.with_name("intact")
    shutil.copytree(medium, intact)
    name = damage(medium)
    code, error = run.load(target, medium)
    assert (code, tags(target)) == (1, {"app:1.0": str(before)})
    assert name in error
    assert str(medium) in error
    assert run.load(target, intact)[0] == 0
    assert tags(target) == tags(source)


def member(name: str, kind: bytes = tarfile.REGTYPE, **attributes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize(
    ("foreign", "problem"),
    [
        (member("../outside"), "'../outside' is not a file of a medium"),
        (member("/etc/passwd"), "'/etc/passwd' is not a file of a medium"),
        (member("blobs/sha256/../../x"), "is not a file of a medium"),
        (member("oci-layout", tarfile.SYMTYPE, linkname="/etc/passwd"), "'oci-layout' is not"),
        (member("index.json", tarfile.LNKTYPE, linkname="oci-layout"), "'index.json' is not"),
        (member("index.json", tarfile.FIFOTYPE), "'index.json' is not"),
        (member("oci-layout"), "'oci-layout' occurs twice"),
        (member("x", pax_headers={"comment": "x" * 100_000}), "a header is too large"),
    ],
)
def test_members_of_an_archive_that_are_no_files_of_a_medium_are_refused(
    source: MemorySite,
    target: MemorySite,
    tmp_path: Path,
    run: Run,
    foreign: tarfile.TarInfo,
    problem: str,
) -> None:
    path = tmp_path / "medium.tar"
    run.export(image_of(source), path)
    with tarfile.open(path, "a", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(foreign)
    code, error = run.load(target, path)
    assert (code, tags(target)) == (1, {})
    assert problem in error


def image_of(site: MemorySite) -> MemorySite:
    image(site, b"small", tag="1.0")
    return site


def test_a_truncated_archive_is_refused_at_any_length(
    source: MemorySite, target: MemorySite, tmp_path: Path, run: Run
) -> None:
    whole, path = tmp_path / "whole.tar", tmp_path / "medium.tar"
    run.export(image_of(source), whole)
    content = whole.read_bytes()
    # The last two blocks are empty.
    for length in range(0, len(content) - 1024, 300):
        path.write_bytes(content[:length])
        assert run.load(target, path)[0] == 1, length
    assert tags(target) == {}
    assert run.load(target, whole)[0] == 0


def test_an_archive_that_another_program_packed_is_imported(
    source: MemorySite, target: MemorySite, medium: Path, run: Run
) -> None:
    run.export(image_of(source), medium)
    path = medium.with_suffix(".tar")
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(medium, ".")
    assert run.load(target, path)[0] == 0
    assert tags(target) == tags(source)


def test_a_description_cannot_name_files_elsewhere(
    source: MemorySite, target: MemorySite, medium: Path, run: Run
) -> None:
    run.export(image_of(source), medium)
    path = medium / "atoll-medium.json"
    document = json.loads(path.read_bytes())
    document["files"]["sha256:../../../etc/passwd"] = 1
    content = json.dumps(document).encode()
    sums = (medium / "SHA256SUMS").read_text()
    old, new = Digest.of(path.read_bytes()).hex, Digest.of(content).hex
    (medium / "SHA256SUMS").write_text(sums.replace(old, new))
    path.write_bytes(content)
    code, error = run.load(target, medium)
    assert code == 1
    assert "'sha256:../../../etc/passwd' is not a valid digest" in error


# Deltas ------------------------------------------------------------------------------------


def three_media(source: MemorySite, directory: Path, run: Run) -> list[Path]:
    """Export three media; the second and the third are deltas."""
    media = [directory / name for name in ("first", "second.tar", "third")]
    base = image(source, b"base", tag="1.0")
    run.export(source, media[0])
    second = image(source, b"base", b"second", tag="1.0")
    image(source, b"base", b"side", tag="side")
    run.export(source, media[1], "--since", media[0] / "atoll-medium.json")
    index(source, base, image(source, b"second", b"third"), tag="2.0")
    image(source, b"signature", tag=f"sha256-{second.hex}.sig")
    image(source, b"base", b"second", b"third", tag="1.0")
    run.export(source, media[2], "--since", media[1])
    return media


def test_media_in_any_order_yield_the_tags_of_the_exporting_registry(
    source: MemorySite, isolated: MemoryRegistry, tmp_path: Path, run: Run
) -> None:
    media = three_media(source, tmp_path, run)
    target = isolated["us"]
    for order in itertools.permutations(media):
        forget_repositories(isolated)
        codes = []
        for path in order:
            code, result = run.load(target, path)
            codes.append(code)
            collect_garbage(target)
        assert result["waiting"] == [], order
        assert set(codes) <= {0, 75}
        assert tags(target) == tags(source), order
        assert awaited(target) == 0
        assert readable(target, Digest.of(b"base")) == b"base"


def test_several_media_are_imported_at_once(
    source: MemorySite, target: MemorySite, tmp_path: Path, run: Run
) -> None:
    media = three_media(source, tmp_path, run)
    assert run.load(target, *reversed(media))[0] == 0
    assert tags(target) == tags(source)


def test_missing_content_is_named_with_its_medium(
    source: MemorySite, target: MemorySite, tmp_path: Path, run: Run
) -> None:
    media = three_media(source, tmp_path, run)
    code, result = run.load(target, media[1])
    assert (code, tags(target)) == (75, {})
    waiting = {one["image"]: one for one in result["waiting"]}
    assert waiting["admin/app:1.0"] == {
        "image": "admin/app:1.0",
        "missing": sorted([str(Digest.of(b"base")), str(Digest.of(CONFIG))]),
        "media": ["first"],
        "switched": False,
    }
    lines = run.text(target, media[1])
    assert f"  {Digest.of(b'base')}" in lines
    assert "  import medium first" in lines
    assert max(map(len, lines)) <= 80


def test_an_older_medium_does_not_replace_a_newer_tag(
    source: MemorySite, target: MemorySite, tmp_path: Path, run: Run
) -> None:
    older, newer = tmp_path / "older", tmp_path / "newer"
    image(source, b"older", tag="1.0")
    run.export(source, older)
    image(source, b"newer", tag="1.0")
    run.export(source, newer)
    assert run.load(target, newer)[0] == 0
    code, result = run.load(target, older)
    assert (code, result["repositories"][0]["older"]) == (0, 1)
    assert tags(target) == tags(source)


def test_images_wait_for_thirty_days_only(
    source: MemorySite, target: MemorySite, tmp_path: Path, run: Run
) -> None:
    media = three_media(source, tmp_path, run)
    run.load(target, media[2])
    assert awaited(target) > 0
    for table in ("awaitedtag", "awaitedmanifest"):
        target.database.run(f"UPDATE {table} SET expires_at = expires_at - interval '31 days'")
    ImportRecords(target.database).delete_expired()
    assert awaited(target) == 0


# Sparse indexes ----------------------------------------------------------------------------


@pytest.fixture
def sparse(target: MemorySite, monkeypatch: pytest.MonkeyPatch) -> MemorySite:
    """The isolated registry with FEATURE_SPARSE_INDEX."""
    graph = target.graph
    manifests = Manifests(
        graph.database, graph.reads, graph.redis, graph.repositories, [], sparse_indexes=True
    )
    importer = Importer(
        graph.database,
        graph.repositories,
        graph.blob_mounts,
        manifests,
        graph.blob_copier,
        sparse_indexes=True,
    )
    monkeypatch.setitem(graph.__dict__, "importer", importer)
    return target


def test_an_index_is_imported_without_an_image_that_is_named_but_absent(
    source: MemorySite, sparse: MemorySite, tmp_path: Path, run: Run
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    image(source, b"shared", tag="1.0")
    run.export(source, first)
    here, waiting = image(source, b"new", config=b"{}"), image(source, b"shared", b"arm")
    top = index(source, here, waiting, tag="2.0")
    run.export(source, second, "--since", first)
    code, result = run.load(sparse, second)
    assert (code, tags(sparse)) == (75, {"app:2.0": str(top)})
    [report] = [one for one in result["waiting"] if one["image"] == "admin/app:2.0"]
    assert (report["switched"], report["media"]) == (True, ["first"])
    rows = sparse.database.read("SELECT digest FROM manifestabsent")
    assert rows == [[str(waiting)]]
    collect_garbage(sparse)
    assert run.load(sparse, first)[0] == 0
    assert tags(sparse) == tags(source)
    assert sparse.database.read("SELECT digest FROM manifestabsent") == []
    assert awaited(sparse) == 0


def test_images_that_the_exporting_registry_lacked_require_sparse_indexes(
    source: MemorySite,
    target: MemorySite,
    medium: Path,
    run: Run,
    request: pytest.FixtureRequest,
) -> None:
    gone = image(source, b"arm")
    index(source, image(source, b"amd"), gone, tag="1.0")
    image(source, b"other", tag="2.0")
    source.database.run("UPDATE manifest SET deleted_at = now() WHERE digest = %s", [str(gone)])
    run.export(source, medium)
    code, result = run.load(target, medium)
    [failure] = result["failures"]
    assert (code, failure["image"]) == (1, "admin/app:1.0")
    assert "enable FEATURE_SPARSE_INDEX" in failure["reason"]
    assert set(tags(target)) == {"app:2.0"}
    sparse = request.getfixturevalue("sparse")
    assert run.load(sparse, medium)[0] == 0
    assert tags(sparse) == tags(source)


def test_a_blob_that_another_repository_has_is_not_lent_but_proven_by_its_bytes(
    source: MemorySite, target: MemorySite, tmp_path: Path, run: Run
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    image(source, b"private", tag="1.0")
    run.export(source, first)
    image(source, b"private", b"new", tag="2.0")
    run.export(source, second, "--since", first)
    image(target, b"private", tag="1.0", name=RepositoryName("stranger", "secret"))
    target.database.run("UPDATE repository SET visibility = 'private'")
    target.graph.repositories.create(APP, "private")
    Permissions(target.database).put(APP, USER, USER_NAME, "write")
    code, result = run.load(target, second, username=USER_NAME)
    assert (code, result["repositories"][0]["switched"]) == (75, 0)
    writes = target.stores["us"].requests["put"]
    assert run.load(target, first, username=USER_NAME)[0] == 0
    assert set(tags(target)) == {"secret:1.0", "app:1.0", "app:2.0"}
    assert target.stores["us"].requests["put"] - writes <= 1
    assert target.stores["us"].objects[blob_key(Digest.of(b"private"))] == b"private"


def test_a_read_only_registry_imports_nothing(
    source: MemorySite, target: MemorySite, medium: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.export(image_of(source), medium)
    bundle = target.graph.bundle.model_copy(update={"disable_pushes": True})
    monkeypatch.setattr(target.graph, "bundle", bundle)
    code, error = run.load(target, medium)
    assert code == 1
    assert "accepts no pushes" in error
