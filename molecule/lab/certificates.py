"""The lab's certificate authority and the certificates of its servers."""

import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from definition import Lab, Machine

_LIFETIME = datetime.timedelta(days=825)
_RENEWAL = datetime.timedelta(days=30)


def issue(lab: Lab) -> None:
    """Issue the certificates that are missing, expire soon or have other names."""
    authority = Authority(lab.certificate_authority, lab.name)
    floating = [one.floating_address for one in lab.load_balancers if one.floating_address]
    registry = [lab.registry_hostname, *_names(*lab.machines), *floating]
    authority.certify(lab.certificate("registry"), registry)
    for service in ("postgres", "redis"):
        authority.certify(lab.certificate(service), [service, *_names(*lab.shared)])
    for store in lab.stores:
        authority.certify(lab.certificate(store.name), [store.hostname, *_names(store)])


def _names(*machines: Machine) -> list[str]:
    return [name for machine in machines for name in (machine.name, machine.address)] + [
        machine.container for machine in machines
    ]


class Authority:
    """A certificate authority, which is created if it does not exist."""

    def __init__(self, certificate: Path, name: str) -> None:
        key = certificate.with_suffix(".key")
        certificate.parent.mkdir(parents=True, exist_ok=True)
        if not certificate.exists() or not key.exists():
            self._create(certificate, key, name)
        self._certificate = x509.load_pem_x509_certificate(certificate.read_bytes())
        self._key = _read_key(key)

    @staticmethod
    def _create(certificate: Path, key: Path, name: str) -> None:
        private = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} test authority")])
        identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
        signed = (
            _builder(subject, subject, private.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(private, hashes.SHA256())
        )
        _write(key, _key_text(private), 0o600)
        _write(certificate, signed.public_bytes(serialization.Encoding.PEM), 0o644)

    def certify(self, certificate: Path, names: list[str]) -> None:
        """Create the certificate and the key of a server unless they exist and are valid."""
        key = certificate.with_suffix(".key")
        if certificate.exists() and key.exists() and self._valid(certificate, names):
            return
        private = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        signed = (
            _builder(subject, self._certificate.subject, private.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(server, critical=False)
            .add_extension(_alternatives(names), critical=False)
            .add_extension(authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        _write(key, _key_text(private), 0o600)
        _write(certificate, signed.public_bytes(serialization.Encoding.PEM), 0o644)

    def _valid(self, certificate: Path, names: list[str]) -> bool:
        present = x509.load_pem_x509_certificate(certificate.read_bytes())
        alternatives = present.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        try:
            present.verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        lasts = present.not_valid_after_utc > datetime.datetime.now(datetime.UTC) + _RENEWAL
        return lasts and alternatives.value == _alternatives(names)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # The clocks of clients may be slow.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: list[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} is not a key of this lab; remove it")
    return key


def _key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


# Write atomically, and with the final permissions from the start.
def _write(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_suffix(path.suffix + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    temporary.replace(path)
