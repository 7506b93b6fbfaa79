"""`atoll import` stores the images of media with the permissions of an account."""

from __future__ import annotations

from pathlib import Path

import pytest
from atoll.auth.permissions import USER, Permissions
from atoll.names import Digest, RepositoryName
from atoll.registry.referrers import Referrers
from atoll.storage.base import blob_key
from atoll.storage.errors import StoreUnavailable

from .media import (
    APP,
    image,
    index,
    referrer,
)
from .media_transfers import LARGE, USER_NAME, Run, image_of, readable, tags
from .mirrored import ROBOT, make_mirror
from .sites import SUPERUSER, MemorySite


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
