"""`atoll export` writes an OCI image layout that skopeo reads, and only new files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from atoll.auth.users import create_user
from atoll.media import archive
from atoll.media.directory import DirectoryWriter
from atoll.names import Digest, RepositoryName
from atoll.storage.base import blob_key

from .commands import run_command
from .media import (
    APP,
    CONFIG,
    blob_file,
    blob_files,
    command,
    image,
    index,
    referrer,
    skopeo,
)
from .sites import SUPERUSER, MemorySite

LAYER = bytes(range(256)) * 5000


@pytest.fixture
def site(source: MemorySite) -> MemorySite:
    return source


def test_skopeo_reads_a_directory_and_an_archive(
    site: MemorySite, medium: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = image(site, LAYER, tag="1.0")
    several = index(site, plain, image(site, b"arm"), tag="2.0")
    archived = medium.with_suffix(".tar")
    for path, transport in ((medium, "oci"), (archived, "oci-archive")):
        code, result = command(site, capsys, "export", "--repository", "admin/app", "--to", path)
        assert (code, result["repositories"][0]["tags"]) == (0, 2)
        assert result["failures"] == []
        for tag, digest in (("1.0", plain), ("2.0", several)):
            raw = skopeo("inspect", "--raw", f"{transport}:{path}:admin/app:{tag}")
            assert Digest.of(raw) == digest
        copied = medium.with_name(f"copied-{transport}")
        source = f"{transport}:{path}:admin/app:2.0"
        skopeo("copy", "--quiet", "--multi-arch=all", source, f"dir:{copied}")
        assert (copied / Digest.of(LAYER).hex).read_bytes() == LAYER
    assert blob_files(medium) == {
        Path(name).name for name in archive.ArchiveReader(archived)._members if "/" in name
    }


def test_the_checksums_are_those_of_sha256sum(site: MemorySite, medium: Path) -> None:
    image(site, LAYER, tag="1.0")
    run_command(site, "export", "--repository", "admin/app", "--to", str(medium))
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=medium,
        check=True,
        capture_output=True,
        text=True,
    )
    files = [one for one in medium.rglob("*") if one.is_file() and one.name != "SHA256SUMS"]
    assert len(checked.stdout.splitlines()) == len(files)


def test_referrers_and_signatures_belong_to_an_image(
    site: MemorySite, medium: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = image(site, LAYER, tag="1.0")
    image(site, b"other", tag="2.0")
    sbom = referrer(site, subject, b"sbom")
    nested = referrer(site, sbom, b"signature of the SBOM")
    signature = image(site, b"signature", tag=f"sha256-{subject.hex}.sig")
    code, result = command(site, capsys, "export", "--repository", "admin/app:1.0", "--to", medium)
    assert (code, result["repositories"][0]["tags"]) == (0, 2)
    described = json.loads((medium / "atoll-medium.json").read_bytes())
    content = described["repositories"]["admin/app"]
    assert list(content["tags"]) == [f"sha256-{subject.hex}.sig", "1.0"]
    assert content["images"][str(subject)] == [str(subject), str(sbom), str(nested)]
    entries = json.loads((medium / "index.json").read_bytes())["manifests"]
    assert {one["digest"] for one in entries} == {
        str(one) for one in (subject, signature, sbom, nested)
    }
    assert Digest.of(b"other").hex not in blob_files(medium)


def test_a_second_export_to_a_directory_adds_only_new_files(
    site: MemorySite, medium: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(site, LAYER, tag="1.0")
    words = ("export", "--repository", "admin/app", "--to", medium)
    command(site, capsys, *words)
    before = {one.name: one.stat().st_mtime_ns for one in (medium / "blobs").rglob("*")}
    image(site, LAYER, b"new", tag="2.0")
    code, result = command(site, capsys, *words)
    [counts] = result["repositories"]
    assert (code, counts["tags"], counts["written"]) == (0, 2, 2)
    after = {one.name: one.stat().st_mtime_ns for one in (medium / "blobs").rglob("*")}
    del before["sha256"]
    assert before.items() <= after.items()
    assert len(skopeo("inspect", "--raw", f"oci:{medium}:admin/app:1.0"))


def test_the_export_of_one_tag_keeps_the_others_of_the_medium(
    site: MemorySite, medium: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        image(site, bytes([number]), tag=f"{number}.0")
        reference = f"admin/app:{number}.0"
        command(site, capsys, "export", "--repository", reference, "--to", medium)
    described = json.loads((medium / "atoll-medium.json").read_bytes())
    assert list(described["repositories"]["admin/app"]["tags"]) == ["1.0", "2.0"]


def test_a_delta_omits_the_files_of_an_earlier_medium_of_the_same_repository(
    site: MemorySite, medium: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(site, LAYER, tag="1.0")
    _, first = command(site, capsys, "export", "--all-of", SUPERUSER, "--to", medium)
    image(site, LAYER, b"new", tag="2.0")
    image(site, LAYER, name=RepositoryName(SUPERUSER, "other"), tag="1.0", config=b"{}")
    delta, since = medium.with_name("delta.tar"), medium / "atoll-medium.json"
    code, result = command(
        site, capsys, "export", "--all-of", SUPERUSER, "--since", since, "--to", delta
    )
    counts = {one["repository"]: one for one in result["repositories"]}
    # The image 1.0, and of 2.0 the configuration and a layer.
    assert (code, counts["admin/app"]["omitted"]) == (0, 3)
    assert counts["admin/app"]["written"] == 2
    # The layer is written: the importer may be unable to read it in the other repository.
    assert counts["admin/other"]["written"] == 3
    reader = archive.ArchiveReader(delta)
    described = json.loads(reader.open("atoll-medium.json").read())
    assert described["earlier"] == {first["medium"]: "medium"}
    third, words = medium.with_name("third"), ("--since", delta)
    code, result = command(site, capsys, "export", "--all-of", SUPERUSER, *words, "--to", third)
    assert (code, blob_files(third) if third.joinpath("blobs").exists() else set()) == (0, set())


@pytest.mark.parametrize("name", ["medium", "medium.tar"])
def test_an_interrupted_export_continues_with_the_next_byte(
    site: MemorySite, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    image(site, LAYER, b"second", tag="1.0")
    digest, path = Digest.of(LAYER), tmp_path / name
    partial = tmp_path / f"{name}.partial"
    writer = archive.ArchiveWriter(path) if path.suffix else DirectoryWriter(path)

    def interrupted(start: int):  # type: ignore[no-untyped-def]
        yield LAYER[start:700]
        raise KeyboardInterrupt

    writer.write(Digest.of(b"second"), 6, lambda _start: iter([b"second"]))
    with pytest.raises(KeyboardInterrupt):
        writer.write(digest, len(LAYER), interrupted)
    writer.close()
    assert not path.exists()
    if path.suffix:
        # As after a crash, the last bytes are not those of the blob.
        with partial.open("ab") as file:
            file.write(archive._header(f"blobs/sha256/{digest.hex}", len(LAYER)) + LAYER[:700])
    before = site.stores["us"].requests["read"]
    code, result = command(site, capsys, "export", "--repository", "admin/app", "--to", path)
    # The manifest, the configuration and the large layer.
    assert (code, result["repositories"][0]["written"]) == (0, 3)
    assert site.stores["us"].requests["read"] - before == 2
    assert not partial.exists()
    transport = "oci-archive" if path.suffix else "oci"
    skopeo("copy", "--quiet", f"{transport}:{path}:admin/app:1.0", f"dir:{tmp_path / 'copy'}")


def test_unsynced_bytes_of_an_interrupted_export_are_read_again(
    site: MemorySite, medium: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(site, LAYER, tag="1.0")
    path = blob_file(medium.with_name("medium.partial"), Digest.of(LAYER))
    path.parent.mkdir(parents=True)
    path.with_name(f"{path.name}.partial").write_bytes(bytes(5000))
    code, _ = command(site, capsys, "export", "--repository", "admin/app", "--to", medium)
    assert code == 0
    assert blob_file(medium, Digest.of(LAYER)).read_bytes() == LAYER


def test_an_image_that_cannot_be_read_does_not_prevent_others(
    site: MemorySite, medium: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(site, LAYER, tag="1.0")
    image(site, b"intact", tag="2.0")
    for store in site.stores.values():
        store.wrong_bytes[blob_key(Digest.of(LAYER))] = LAYER[::-1]
    code, result = command(site, capsys, "export", "--repository", "admin/app", "--to", medium)
    assert (code, [one["image"] for one in result["failures"]]) == (1, ["admin/app:1.0"])
    assert str(Digest.of(LAYER)) in result["failures"][0]["reason"]
    described = json.loads((medium / "atoll-medium.json").read_bytes())
    assert list(described["repositories"]["admin/app"]["tags"]) == ["2.0"]
    assert Digest.of(LAYER).hex not in "".join(blob_files(medium))


def test_unavailable_stores_have_an_exit_code_of_their_own(
    site: MemorySite, medium: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(site, LAYER, tag="1.0")
    for store in site.stores.values():
        store.unreadable.add(blob_key(Digest.of(LAYER)))
    code, _ = command(site, capsys, "export", "--repository", "admin/app", "--to", medium)
    assert code == 69


def test_a_user_exports_only_readable_repositories(
    site: MemorySite, medium: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(site, b"secret", tag="1.0")
    image(site, b"public", tag="1.0", name=RepositoryName(SUPERUSER, "public"))
    site.database.run("UPDATE repository SET visibility = 'public' WHERE name = 'public'")
    create_user(site.database, "reader", None, "correct horse battery")
    words = ("--to", medium, "--as", "reader")
    code, error = command(site, capsys, "export", "--repository", str(APP), *words)
    assert (code, error) == (1, "'reader' may not pull from a repository 'admin/app'\n")
    code, result = command(site, capsys, "export", "--all-of", SUPERUSER, *words)
    assert (code, [one["repository"] for one in result["repositories"]]) == (0, ["admin/public"])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--repository", "app"], "'app' has no namespace"),
        (["--repository", "admin/other"], "there is no repository 'admin/other'"),
        (["--repository", "admin/app:2.0"], "'admin/app' has no tag '2.0'"),
        (["--all-of", "nobody"], "the namespace 'nobody' has no repository to export"),
        (["--repository", "admin/app", "--as", "nobody"], "there is no enabled user or robot"),
        (["--repository", "admin/app", "--since", "/missing.tar"], "there is no medium"),
        ([], "name images with --repository or --all-of"),
    ],
)
def test_wrong_selections_write_nothing(
    site: MemorySite,
    medium: Path,
    words: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image(site, CONFIG, tag="1.0")
    code, error = command(site, capsys, "export", *words, "--to", medium)
    assert code == (1 if words else 2)
    assert problem in error
    assert list(medium.parent.glob("medium*")) == []


def test_links_of_a_directory_are_not_followed(
    site: MemorySite, medium: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(site, LAYER, tag="1.0")
    outside = tmp_path / "outside"
    outside.mkdir()
    medium.mkdir()
    words = ("export", "--repository", "admin/app", "--to", medium)
    (medium / "blobs").symlink_to(outside)
    code, error = command(site, capsys, *words)
    assert code == 1
    assert "symbolic links" in error
    (medium / "blobs").unlink()
    target = blob_file(medium, Digest.of(LAYER))
    target.parent.mkdir(parents=True)
    target.with_name(f"{target.name}.partial").symlink_to(outside / "file")
    assert command(site, capsys, *words)[0] == 1
    assert list(outside.iterdir()) == []


def test_a_directory_with_other_files_is_refused(
    site: MemorySite, medium: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(site, LAYER, tag="1.0")
    medium.mkdir()
    (medium / "letter.txt").write_text("")
    code, error = command(site, capsys, "export", "--repository", "admin/app", "--to", medium)
    assert code == 1
    assert "'letter.txt'" in error


def test_a_full_medium_is_named(
    site: MemorySite, medium: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(site, LAYER, tag="1.0")
    archived = medium.with_suffix(".tar")
    archived.write_bytes(b"")
    code, error = command(site, capsys, "export", "--repository", "admin/app", "--to", archived)
    assert code == 1
    assert "archives are not extended" in error
    code, error = command(site, capsys, "export", "--repository", "admin/app", "--to", "/proc/x")
    assert code == 1
    assert "'/proc/x.partial' cannot be written" in error


def test_a_sparse_index_lists_its_absent_images(
    site: MemorySite, medium: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = image(site, b"arm")
    index(site, image(site, LAYER), gone, tag="1.0")
    site.database.run("UPDATE manifest SET deleted_at = now() WHERE digest = %s", [str(gone)])
    code, _ = command(site, capsys, "export", "--repository", "admin/app", "--to", medium)
    described = json.loads((medium / "atoll-medium.json").read_bytes())
    assert (code, described["absent"]) == (0, [str(gone)])


def test_an_empty_blob_is_exported(
    site: MemorySite, medium: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(site, b"", LAYER, tag="1.0")
    code, _ = command(site, capsys, "export", "--repository", "admin/app:1.0", "--to", medium)
    assert code == 0
