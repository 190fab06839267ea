"""
The controller's own authority, which every driver trusts, and the short-lived certificate that it signs for itself.

An authority that comes to its end is joined by the next one: the drivers are told of both, and only once they must have
heard of the new one does it sign. So nothing is ever refused because somebody has not read the news yet.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROLE = "mooring:controller"
"""The URI in the controller's certificate by which drivers know it."""

LIFETIME = dt.timedelta(days=365)
RENEW_BEFORE = dt.timedelta(days=90)
CERTIFICATE_LIFETIME = dt.timedelta(hours=24)
CLOCK_SKEW = dt.timedelta(minutes=10)
"""By how much a node's clock may be behind."""
DISTRIBUTION = dt.timedelta(minutes=15)
"""After so long every driver has the new authority: kubelet brings a changed ConfigMap to its pods within minutes."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A self-signed certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def created(self) -> dt.datetime:
        """When it was made."""
        return self.certificate.not_valid_before_utc + CLOCK_SKEW

    @property
    def expires(self) -> dt.datetime:
        """When it ends."""
        return self.certificate.not_valid_after_utc


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What the controller shows to drivers, as PEM; from `renew_at` on it should be signed anew."""

    chain: bytes
    key: bytes
    renew_at: dt.datetime


def create_authority(now: dt.datetime) -> Authority:
    """A new one."""
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
    """A certificate for the controller, and a key that nobody else ever sees."""
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
    """Without those that ended; with a new one when the newest is close to its end, or none is left."""
    valid = sorted((each for each in authorities if each.expires > now), key=lambda each: each.expires)
    if not valid or valid[-1].expires - now < RENEW_BEFORE:
        valid.append(create_authority(now))
    return valid


def signer(authorities: Sequence[Authority], now: dt.datetime) -> Authority:
    """The newest that every driver has heard of; the oldest when that is true of none."""
    distributed = [each for each in authorities if each.created + DISTRIBUTION <= now]
    return max(distributed, key=lambda each: each.expires) if distributed else min(authorities, key=lambda each: each.expires)


def bundle(authorities: Sequence[Authority]) -> str:
    """What drivers trust, as PEM."""
    return b"".join(each.certificate.public_bytes(serialization.Encoding.PEM) for each in authorities).decode()


def write(authorities: Sequence[Authority]) -> bytes:
    """Certificates and keys as PEM, each key after its certificate."""
    return b"".join(
        each.certificate.public_bytes(serialization.Encoding.PEM) + _private(each.key) for each in authorities
    )


def read(pem: bytes) -> list[Authority]:
    """What `write` wrote; raises ValueError for anything else."""
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
