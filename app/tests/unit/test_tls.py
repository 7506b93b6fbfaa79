from __future__ import annotations

import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from atoll.config import ConfigError
from atoll.server.tls import Certificate, certificate_end, read_certificate, redirects_to_tls
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def bundle(scheme: str = "http", *, external: bool = False) -> SimpleNamespace:
    return SimpleNamespace(preferred_url_scheme=scheme, external_tls_termination=external)


def write_pair(directory: Path) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files = Certificate(directory / "ssl.cert", directory / "ssl.key")
    files.certificate.write_bytes(certificate.public_bytes(pem))
    files.key.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def test_a_bundle_with_a_certificate_serves_tls(tmp_path: Path) -> None:
    files = write_pair(tmp_path)
    assert read_certificate(bundle(), tmp_path) == files


def test_a_bundle_without_a_certificate_serves_http_only(tmp_path: Path) -> None:
    assert read_certificate(bundle(), tmp_path) is None
    assert read_certificate(bundle("https", external=True), tmp_path) is None


def test_https_without_a_certificate_is_refused_with_both_remedies(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ssl.cert and ssl.key: add them.*EXTERNAL_TLS_TERMINA"):
        read_certificate(bundle("https"), tmp_path)


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path).key.unlink()
    with pytest.raises(ConfigError, match=r"ssl.cert alone"):
        read_certificate(bundle(), tmp_path)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    files = write_pair(tmp_path)
    certificate = files.certificate.read_bytes()
    write_pair(tmp_path)
    files.certificate.write_bytes(certificate)
    with pytest.raises(ConfigError, match="KEY_VALUES_MISMATCH"):
        read_certificate(bundle(), tmp_path)


def test_a_malformed_key_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path).key.write_text("not a key")
    with pytest.raises(ConfigError, match="not a valid pair"):
        read_certificate(bundle(), tmp_path)


@pytest.mark.parametrize(
    ("scheme", "external", "redirects"),
    [("https", False, True), ("https", True, False), ("http", False, False)],
)
def test_http_is_redirected_only_if_the_registry_itself_terminates_tls(
    tmp_path: Path, scheme: str, external: bool, redirects: bool
) -> None:
    files = write_pair(tmp_path)
    assert redirects_to_tls(bundle(scheme, external=external), files) is redirects


def test_the_end_of_a_certificate_is_read_and_unknown_without_a_readable_one(
    tmp_path: Path,
) -> None:
    assert certificate_end(tmp_path) is None
    files = write_pair(tmp_path)
    end = certificate_end(tmp_path)
    left = end - datetime.datetime.now(datetime.UTC) if end else None
    assert left is not None
    assert datetime.timedelta(hours=23) < left < datetime.timedelta(days=1)
    files.certificate.write_bytes(b"no certificate")
    assert certificate_end(tmp_path) is None
