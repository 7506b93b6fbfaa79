"""Certificates with chosen names, issuers and periods."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.UTC)


class Issuer:
    """A CA, or a certificate that is signed by one."""

    def __init__(self, folder, name, issuer=None, *, names=(), ca=False, days=(-1, 90)):
        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = issuer or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + datetime.timedelta(days=days[0]))
            .not_valid_after(NOW + datetime.timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            entries = [alternative(entry) for entry in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(entries), critical=False)
        self.certificate = builder.sign(signer.key, hashes.SHA256())
        self.file = folder / f"{name}.crt"
        self.file.write_bytes(self.pem)
        self.key_file = folder / f"{name}.key"
        self.key_file.write_bytes(self.private())

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def private(self, encryption=None):
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            encryption or serialization.NoEncryption(),
        )


def alternative(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
