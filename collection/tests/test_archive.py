"""The reference of an image is read from its archive."""

import io
import json
import tarfile

import pytest
from ansible_collections.atoll.registry.plugins.module_utils.archive import (
    ArchiveError,
    archive_reference,
)

DIGEST = "sha256:" + "a" * 64


def archive(path, index, name="index.json"):
    data = json.dumps(index).encode()
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return str(path)


def manifest(name, digest=DIGEST):
    return {"digest": digest, "annotations": {"org.opencontainers.image.ref.name": name}}


@pytest.mark.parametrize(
    ("saved_as", "repository"),
    [
        ("localhost/atoll-registry:dev", "localhost/atoll-registry"),
        ("localhost/atoll-registry", "localhost/atoll-registry"),
        ("registry.example.org:5000/atoll", "registry.example.org:5000/atoll"),
        ("registry.example.org:5000/atoll:1.2", "registry.example.org:5000/atoll"),
    ],
)
def test_the_reference_consists_of_the_repository_and_the_digest(tmp_path, saved_as, repository):
    path = archive(tmp_path / "image.tar", {"manifests": [manifest(saved_as)]})

    assert archive_reference(path) == f"{repository}@{DIGEST}"


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        ({"manifests": []}, "holds 0 images"),
        ({"manifests": [manifest("a/b"), manifest("a/c")]}, "holds 2 images"),
        ({"manifests": [{"digest": DIGEST}]}, "does not name its image"),
        ({"manifests": [manifest("dev")]}, "does not name its image"),
        ({"manifests": [manifest("a/b:c", "md5:1")]}, "not a SHA-256 digest"),
    ],
)
def test_an_archive_without_one_named_image_is_refused(tmp_path, index, sentence):
    path = archive(tmp_path / "image.tar", index)

    with pytest.raises(ArchiveError, match=sentence):
        archive_reference(path)


def test_the_error_for_a_missing_archive_names_the_build_command(tmp_path):
    with pytest.raises(ArchiveError, match="make images"):
        archive_reference(str(tmp_path / "image.tar"))


def test_the_error_for_another_archive_format_names_the_right_one(tmp_path):
    path = archive(tmp_path / "image.tar", [], name="manifest.json")

    with pytest.raises(ArchiveError, match="--format oci-archive"):
        archive_reference(path)


def test_a_file_that_is_no_tar_archive_is_refused(tmp_path):
    (tmp_path / "image.tar").write_text("no archive")

    with pytest.raises(ArchiveError, match="cannot be read"):
        archive_reference(str(tmp_path / "image.tar"))
