"""A private certificate authority for the servers of an inventory."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

# Ansible itself requires cryptography, but tools that only read the documentation may lack it.
with suppress(ImportError):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# The maximum that Apple's clients accept from a private CA.
SERVER_LIFETIME = datetime.timedelta(days=825)
AUTHORITY_LIFETIME = datetime.timedelta(days=3650)
# Clocks of clients may be slow.
_CLOCK_SKEW = datetime.timedelta(hours=1)
# A replacement of a host in the same network needs no new CA.
_NETWORK_PREFIX = 24

_UTC = datetime.timezone(datetime.timedelta())


class UnusableKey(Exception):
    """The key cannot sign certificates."""


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, in PEM format."""

    certificate: bytes
    key: bytes


def create_authority(
    name: str, names: Collection[str], now: datetime.datetime | None = None
) -> KeyPair:
    """Create a CA whose certificates are valid only for some names.

    Clients that trust the CA remain protected if its key leaks, because of the name constraints.

    Args:
        name: the common name.
        names: permitted host names, with their subdomains, and addresses, with their networks.
        now: the current time.
    """
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    permitted = [_permitted(name) for name in names]
    unique = list(dict.fromkeys(permitted))
    signed = (
        _builder(subject, subject, private.public_key(), AUTHORITY_LIFETIME, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(unique, None), critical=True)
        .sign(private, hashes.SHA256())
    )
    return _pair(signed, private)


def issue(
    authority: KeyPair, names: Collection[str], now: datetime.datetime | None = None
) -> KeyPair:
    """Issue the certificate of a server.

    Args:
        authority: the CA.
        names: host names and addresses; the first is also the common name.
        now: the current time.

    Raises:
        UnusableKey: the CA's key is not of the type that `create_authority` creates.
    """
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    signing = _load(authority.key)
    private = ec.generate_private_key(ec.SECP256R1())
    unique = list(dict.fromkeys(names))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, unique[0])])
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in unique])
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
    signed = (
        _builder(subject, issuer.subject, private.public_key(), SERVER_LIFETIME, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternatives, critical=False)
        .add_extension(identifier, critical=False)
        .sign(signing, hashes.SHA256())
    )
    return _pair(signed, private)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    lifetime: datetime.timedelta,
    now: datetime.datetime | None,
) -> x509.CertificateBuilder:
    begin = (now or datetime.datetime.now(_UTC)) - _CLOCK_SKEW
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
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


def _general_name(name: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _permitted(name: str) -> x509.DNSName | x509.IPAddress:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return x509.DNSName(name)
    return x509.IPAddress(ipaddress.ip_network(f"{address}/{_NETWORK_PREFIX}", strict=False))


def _load(key: bytes) -> ec.EllipticCurvePrivateKey:
    loaded = serialization.load_pem_private_key(key, password=None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise UnusableKey("the key is not an elliptic curve key")
    return loaded


def _pair(certificate: x509.Certificate, private: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        certificate.public_bytes(serialization.Encoding.PEM),
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
