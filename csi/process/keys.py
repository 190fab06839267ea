"""
`python -m csi.process.keys DIR NODE`: create the driver's key and self-signed certificate, if they are missing.

The controller pins the key at its first contact with the driver, so no authority has to sign it. This runs in a
separate process, because the cryptography library would otherwise stay in the driver's memory.
"""

import datetime as dt
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from csi import limits
from csi.errors import BadEnvironment
from csi.host.files import read_through_links, write_atomic

KEY = "driver.key"
CERTIFICATE = "driver.crt"
SERVER_NAME = "driver.csi.mooring.dev"
"""The name in every driver's certificate; only the key identifies a driver."""
ROLE = "mooring:driver"
LIFETIME = dt.timedelta(days=36525)
"""A pinned key does not expire."""
LONGEST_NAME = 64


def ensure(directory: Path, node: str) -> None:
    """Create a missing key or certificate. Raises BadEnvironment for files that cannot be read, written or used."""
    key_file, certificate_file = directory / KEY, directory / CERTIFICATE
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = _read(key_file) if key_file.exists() else _create_key(key_file)
        if not certificate_file.exists() or not _is_for(certificate_file, key):
            write_atomic(certificate_file, _certificate(key, node))
    except OSError as error:
        raise BadEnvironment(
            f"the driver's key cannot be stored in {directory}: {error.strerror}; choose another --key-dir"
        ) from None


def _create_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    plain = serialization.NoEncryption()
    write_atomic(path, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return key


def _read(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(read_through_links(path, most=limits.PEM_BYTES), password=None)
    except ValueError:
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadEnvironment(
            f"{path} is not a key of this driver; restore the right one, or remove it: then a new one is created, "
            "which an admin has to accept by removing this node from the ConfigMap mooring-driver-keys"
        )
    return key


def _is_for(path: Path, key: ec.EllipticCurvePrivateKey) -> bool:
    try:
        found = x509.load_pem_x509_certificate(read_through_links(path, most=limits.PEM_BYTES))
        return found.public_key() == key.public_key()
    except ValueError:
        return False


def _certificate(key: ec.EllipticCurvePrivateKey, node: str) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node[:LONGEST_NAME])])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME), x509.UniformResourceIdentifier(ROLE)]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def run(arguments: list[str]) -> int:
    """Create the key and certificate; return the exit code: 0, or 1 after one line on stderr."""
    directory, node = arguments
    try:
        ensure(Path(directory), node)
    except BadEnvironment as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
