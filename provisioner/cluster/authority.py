"""
The controller's certificate authority, which every driver trusts, and the short-lived client certificate it signs.

Before an authority expires, the next one is added to the bundle that drivers trust. It signs only once every driver has
the new bundle, so that a rotation never rejects a connection.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROLE = "mooring:controller"
"""The URI in the controller's certificate by which drivers recognize it."""

LIFETIME = dt.timedelta(days=365)
RENEW_BEFORE = dt.timedelta(days=90)
CERTIFICATE_LIFETIME = dt.timedelta(hours=24)
CLOCK_SKEW = dt.timedelta(minutes=10)
"""How much a node's clock may be behind."""
DISTRIBUTION = dt.timedelta(minutes=15)
"""After so long every driver has the new authority: kubelet updates a mounted ConfigMap within minutes."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A self-signed certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def created(self) -> dt.datetime:
        """When the authority was created."""
        return self.certificate.not_valid_before_utc + CLOCK_SKEW

    @property
    def expires(self) -> dt.datetime:
        """When the certificate of the authority expires."""
        return self.certificate.not_valid_after_utc


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The certificate that the controller presents to drivers, and its key, as PEM; to be renewed at `renew_at`."""

    chain: bytes
    key: bytes
    renew_at: dt.datetime


def create_authority(now: dt.datetime) -> Authority:
    """Return a new authority, valid from `now`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mooring controller authority")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def sign_client(authority: Authority, now: dt.datetime) -> ClientCertificate:
    """Return a certificate for the controller, signed by the authority, and its new key."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mooring controller")]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(min(now + CERTIFICATE_LIFETIME, authority.expires))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(ROLE)]), critical=False)
        .add_extension(_issuer(authority), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return ClientCertificate(
        chain=certificate.public_bytes(serialization.Encoding.PEM),
        key=_private(key),
        renew_at=now + CERTIFICATE_LIFETIME / 2,
    )


def renewed(authorities: Sequence[Authority], now: dt.datetime) -> list[Authority]:
    """Return the authorities without expired ones, and with a new one when the newest expires soon or none is left."""
    valid = sorted((each for each in authorities if each.expires > now), key=lambda each: each.expires)
    if not valid or valid[-1].expires - now < RENEW_BEFORE:
        valid.append(create_authority(now))
    return valid


def signer(authorities: Sequence[Authority], now: dt.datetime) -> Authority:
    """Return the authority to sign with: the newest that every driver has, or else the oldest."""
    distributed = [each for each in authorities if each.created + DISTRIBUTION <= now]
    return (
        max(distributed, key=lambda each: each.expires)
        if distributed
        else min(authorities, key=lambda each: each.expires)
    )


def bundle(authorities: Sequence[Authority]) -> str:
    """Return the certificates that drivers trust, as PEM."""
    return b"".join(each.certificate.public_bytes(serialization.Encoding.PEM) for each in authorities).decode()


def write(authorities: Sequence[Authority]) -> bytes:
    """Return certificates and keys as PEM, each key after its certificate."""
    return b"".join(
        each.certificate.public_bytes(serialization.Encoding.PEM) + _private(each.key) for each in authorities
    )


def read(pem: bytes) -> list[Authority]:
    """Return the authorities that `write` encoded. Raise ValueError for anything else."""
    certificates = x509.load_pem_x509_certificates(pem)
    keys = [
        serialization.load_pem_private_key(b"-----BEGIN PRIVATE KEY-----" + part, password=None)
        for part in pem.split(b"-----BEGIN PRIVATE KEY-----")[1:]
    ]
    found = []
    for certificate, key in zip(certificates, keys, strict=True):
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ValueError("a key does not belong to its certificate")
        found.append(Authority(certificate, key))
    return found


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _issuer(authority: Authority) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
