"""Certificates for tests: one signed by itself, and those of an authority."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
VALID_H = 24.0


def make_certificate(path: Path) -> None:
    """Writes key and certificate for 127.0.0.1 to one PEM file, which servers load and clients trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("frazil test")
    certificate = (
        _builder(name, key, VALID_H)
        .issuer_name(name)
        .add_extension(_addresses(["127.0.0.1"]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))


@dataclass(slots=True)
class Authority:
    """Signs certificates; its own is in `file`."""

    folder: Path
    name: str = "authority"
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        name = _name(self.name)
        certificate = (
            _builder(name, self._key, VALID_H)
            .issuer_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.pem"

    def sign(
        self, name: str, *addresses: str, valid_h: float = VALID_H, uses: tuple[x509.ObjectIdentifier, ...] = (SERVER, CLIENT)
    ) -> tuple[Path, Path]:
        """Files of a certificate and of its key. valid_h: hours from now; negative: it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name(name), key, valid_h)
            .issuer_name(_name(self.name))
            .add_extension(_addresses(addresses), critical=False)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        cert_file, key_file = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(_pem(key))
        key_file.chmod(0o600)
        return cert_file, key_file

    def table(self, name: str, *addresses: str) -> str:
        """`[tls]` of a node's file, with a certificate that is made for it."""
        cert, key = self.sign(name, *addresses)
        return f'[tls]\ncert = "{cert}"\nkey = "{key}"\nauthority = "{self.file}"\n'


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _addresses(addresses: tuple[str, ...] | list[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(each)) for each in addresses])


def _builder(name: x509.Name, key: ec.EllipticCurvePrivateKey, valid_h: float) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=2 * VALID_H))
        .not_valid_after(now + datetime.timedelta(hours=valid_h))
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
