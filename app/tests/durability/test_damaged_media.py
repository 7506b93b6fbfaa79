"""`atoll import` refuses damaged and forged media."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from atoll.names import Digest

from .media import (
    blob_file,
    image,
)
from .media_transfers import LARGE, Run, image_of, tags
from .sites import MemorySite


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
