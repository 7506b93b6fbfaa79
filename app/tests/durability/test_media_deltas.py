"""`atoll import` takes media in any order, and images wait for missing content."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from atoll.media.import_records import ImportRecords
from atoll.media.importer import Importer
from atoll.names import Digest
from atoll.registry.manifests import Manifests

from .media import (
    CONFIG,
    forget_repositories,
    image,
    index,
)
from .media_transfers import Run, awaited, collect_garbage, readable, tags
from .sites import MemoryRegistry, MemorySite


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


def test_missing_content_is_named_in_a_repository_with_other_images(
    source: MemorySite, target: MemorySite, tmp_path: Path, run: Run
) -> None:
    media = three_media(source, tmp_path, run)
    image(target, b"other", tag="other")
    code, result = run.load(target, media[1])
    assert code == 75
    (missing,) = [one["missing"] for one in result["waiting"] if one["image"] == "admin/app:1.0"]
    assert str(Digest.of(b"base")) in missing
    assert missing == sorted(missing)


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
