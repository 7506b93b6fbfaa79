"""A bundle that a kubelet mounts from a Secret is read, and a change of the Secret is followed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import yaml
from atoll.config import Bundle
from atoll.server.bundle import load_bundle, write_ca_bundle
from atoll.server.paths import prepare_runtime_directory
from atoll.server.tls import certificate_end, read_certificate

from ..kubelet_directory import KubeletDirectory
from .test_tls import write_pair
from .valid_bundle import valid_bundle


def files(directory: Path, **changes: object) -> dict[str, bytes]:
    """Return the files of a bundle with a new certificate."""
    directory.mkdir()
    pair = write_pair(directory)
    certificate = pair.certificate.read_bytes()
    return {
        "config.yaml": yaml.safe_dump(valid_bundle() | changes).encode(),
        "ssl.cert": certificate,
        "ssl.key": pair.key.read_bytes(),
        "extra_ca_certs/stores.crt": certificate,
    }


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KubeletDirectory:
    monkeypatch.setenv("ATOLL_RUNTIME_DIRECTORY", str(tmp_path / "run"))
    monkeypatch.setenv("ATOLL_BUNDLE_DIRECTORY", str(tmp_path / "stack"))
    prepare_runtime_directory()
    return KubeletDirectory(tmp_path / "stack", files(tmp_path / "first"))


def test_a_replaced_bundle_is_read(mounted: KubeletDirectory, tmp_path: Path) -> None:
    before = load_bundle()
    mounted.replace(files(tmp_path / "second", SERVER_HOSTNAME="new.example.org"))
    after = load_bundle()
    assert after.server_hostname == "new.example.org"
    assert after.fingerprint != before.fingerprint


def test_a_replaced_certificate_is_read(mounted: KubeletDirectory, tmp_path: Path) -> None:
    https = cast(
        "Bundle", SimpleNamespace(preferred_url_scheme="https", external_tls_termination=False)
    )
    first = read_certificate(https, mounted.path)
    assert first is not None
    text = first.certificate.read_bytes()
    mounted.replace(files(tmp_path / "second"))
    # nginx opens the same path when it is reloaded.
    assert read_certificate(https, mounted.path) == first
    assert first.certificate.read_bytes() != text
    assert certificate_end(mounted.path) is not None


def test_replaced_ca_certificates_are_trusted(mounted: KubeletDirectory, tmp_path: Path) -> None:
    old = (mounted.path / "extra_ca_certs/stores.crt").read_text()
    assert old in write_ca_bundle().read_text()
    mounted.replace(files(tmp_path / "second"))
    new = (mounted.path / "extra_ca_certs/stores.crt").read_text()
    trusted = write_ca_bundle().read_text()
    assert new in trusted
    assert old not in trusted


def test_removed_ca_certificates_are_not_trusted(mounted: KubeletDirectory, tmp_path: Path) -> None:
    old = (mounted.path / "extra_ca_certs/stores.crt").read_text()
    left = files(tmp_path / "second")
    del left["extra_ca_certs/stores.crt"]
    mounted.replace(left)
    assert old not in write_ca_bundle().read_text()


def test_ca_certificates_of_a_secret_of_their_own_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATOLL_RUNTIME_DIRECTORY", str(tmp_path / "run"))
    monkeypatch.setenv("ATOLL_BUNDLE_DIRECTORY", str(tmp_path / "stack"))
    prepare_runtime_directory()
    certificate = files(tmp_path / "first")["ssl.cert"]
    KubeletDirectory(tmp_path / "stack/extra_ca_certs", {"stores.crt": certificate})
    assert write_ca_bundle().read_text().count(certificate.decode()) == 1
