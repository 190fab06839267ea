"""
The engine's certificate authority, server certificate, token and kubeconfig.

The API server listens on loopback only, but uses TLS, because kubectl sends bearer tokens only over TLS.
"""

import base64
import datetime as dt
import ipaddress
import os
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisioner.embedded.settings import BadEnvironmentError, StatePaths

LIFETIME = dt.timedelta(days=3650)
RENEW_BEFORE = dt.timedelta(days=30)
NAME = "mooring"
"""The name of the cluster, user and context in the kubeconfig."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The server's certificate and key, and the token that it requires."""

    certificate: Path
    key: Path
    authority: Path
    token: str

    def server_context(self) -> ssl.SSLContext:
        """Return the TLS context of the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        return context


def ensure(paths: StatePaths) -> Credentials:
    """
    Return the credentials of this state directory; create them on the first start.

    A certificate that expires within RENEW_BEFORE is renewed, with its authority. Raises BadEnvironmentError when the
    files cannot be read or written.
    """
    found = Credentials(
        certificate=paths.tls / "server.crt", key=paths.tls / "server.key", authority=paths.tls / "ca.crt", token=""
    )
    token = paths.tls / "token"
    try:
        if not _usable(found):
            _create(found)
        if not token.exists():
            write_private(token, secrets.token_urlsafe(32).encode())
        # unbounded: a file of the engine's own state
        text = token.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadEnvironmentError(
            f"cannot read or write the engine's credentials in {paths.tls}: {error}; "
            "remove that directory to create them again"
        ) from error
    if not text:
        raise BadEnvironmentError(f"{token} is empty; remove it to create a new token")
    return Credentials(certificate=found.certificate, key=found.key, authority=found.authority, token=text)


def write_kubeconfig(paths: StatePaths, credentials: Credentials, *, port: int) -> None:
    """
    Write the kubeconfigs for the engine on `port`, each atomically.

    The one for users embeds the authority, so that it can be copied. The engine's own refers to the authority's file:
    the client library writes an embedded one to a temporary file, which remains after SIGKILL.
    """
    # unbounded: a file of the engine's own state
    authority = base64.b64encode(credentials.authority.read_bytes()).decode()
    server = f"https://127.0.0.1:{port}"
    embedded = {"server": server, "certificate-authority-data": authority}
    referring = {"server": server, "certificate-authority": str(credentials.authority)}
    write_private(paths.kubeconfig, _kubeconfig(embedded, credentials.token))
    write_private(paths.own_kubeconfig, _kubeconfig(referring, credentials.token))


def _kubeconfig(cluster: dict[str, str], token: str) -> bytes:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": NAME, "user": {"token": token}}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME, "namespace": "default"}}],
        "current-context": NAME,
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def write_private(path: Path, content: bytes) -> None:
    """Replace the content of the file `path`, atomically and durably (fsync), with mode 0600."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _usable(found: Credentials) -> bool:
    """Report whether certificate, key and authority exist and match, and do not expire within RENEW_BEFORE."""
    if not all(path.exists() for path in (found.certificate, found.key, found.authority)):
        return False
    try:
        # unbounded: a file of the engine's own state
        certificate = x509.load_pem_x509_certificate(found.certificate.read_bytes())
        # unbounded: a file of the engine's own state
        key = serialization.load_pem_private_key(found.key.read_bytes(), password=None)
        # unbounded: a file of the engine's own state
        authority = x509.load_pem_x509_certificate(found.authority.read_bytes())
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    ends = certificate.not_valid_after_utc
    same = _public(certificate.public_key()) == _public(key.public_key())
    return same and ends > dt.datetime.now(dt.UTC) + RENEW_BEFORE


def _public(key: object) -> bytes:
    assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101 - no other key is created here
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _create(files: Credentials) -> None:
    """Create an authority and a server certificate signed by it; the authority's key is discarded."""
    now = dt.datetime.now(dt.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mooring embedded engine")])
    authority = (
        _builder(subject=authority_name, issuer=authority_name, now=now)
        .public_key(authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    certificate = (
        _builder(
            subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]), issuer=authority_name, now=now
        )
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(files.key, private)
    write_private(files.authority, authority.public_bytes(serialization.Encoding.PEM))
    write_private(files.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _builder(*, subject: x509.Name, issuer: x509.Name, now: dt.datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
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
