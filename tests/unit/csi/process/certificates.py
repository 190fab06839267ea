"""Certificates of valid and invalid clients of a driver, and calls with them."""

import datetime as dt
import socket
import ssl
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from csi.v1 import csi_pb2, csi_pb2_grpc
from provisioner.cluster.authority import Authority, ClientCertificate, create_authority, sign_client
from tests.until import until

NOW = dt.datetime.now(dt.UTC)
SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Certificate chain and key of a client, in PEM."""

    chain: bytes
    key: bytes


def controller(authority: Authority, *, now: dt.datetime = NOW) -> KeyPair:
    """A certificate of the controller, as the controller signs it."""
    signed: ClientCertificate = sign_client(authority, now)
    return KeyPair(signed.chain, signed.key)


def with_role(authority: Authority, *uris: str) -> KeyPair:
    """A certificate of the same authority with these roles as URIs."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mooring:controller")]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(hours=1))
        .not_valid_after(NOW + dt.timedelta(hours=1))
    )
    if uris:
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(authority.key, hashes.SHA256())
    return KeyPair(
        signed.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )


def authority() -> Authority:
    """A new certificate authority."""
    return create_authority(NOW)


def channel(port: int, key_pair: KeyPair | None, trusted: Path) -> grpc.Channel:
    """A new connection that trusts the driver's certificate."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=trusted.read_bytes(),
        private_key=key_pair.key if key_pair else None,
        certificate_chain=key_pair.chain if key_pair else None,
    )
    options: list[tuple[str, Any]] = [
        ("grpc.ssl_target_name_override", "driver.csi.mooring.dev"),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials, options=options)


def code_of_call(port: int, key_pair: KeyPair | None, trusted: Path) -> grpc.StatusCode:
    """The code of a call on a new connection."""
    with channel(port, key_pair, trusted) as opened:
        stub = csi_pb2_grpc.ControllerStub(opened)
        try:
            stub.ControllerGetCapabilities(csi_pb2.ControllerGetCapabilitiesRequest(), timeout=SECONDS)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
        return grpc.StatusCode.OK


def until_listening(port: int) -> None:
    """Wait until the driver listens on the port."""
    until(partial(_connect, port), "the driver listens", seconds=SECONDS, pause=0.05, retried=(OSError,))


def _connect(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), 1).close()
    return True


def spki(pem: Path) -> bytes:
    """The public key in a certificate."""
    certificate = x509.load_der_x509_certificate(ssl.PEM_cert_to_DER_cert(pem.read_text(encoding="ascii")))
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
