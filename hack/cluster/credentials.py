"""Keys, certificates and kubeconfigs of a cluster: one authority, and a name for everyone RBAC knows."""

import base64
import datetime as dt
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hack.cluster.place import API_PORT, FIRST_SERVICE, Cluster

VALID: Final = dt.timedelta(days=365)


def _private(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _name(common_name: str, group: str = "") -> x509.Name:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if group:
        names.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(names)


@dataclass(frozen=True)
class Authority:
    """The certificate authority of one cluster; `ca.key` and `ca.crt` in the folder."""

    folder: Path
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def made(cls, folder: Path) -> "Authority":
        """Create a new authority."""
        folder.mkdir(mode=0o700)
        authority = cls(folder, ec.generate_private_key(ec.SECP256R1()))
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = authority._builder(_name("mooring-cluster"), authority.key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        authority._write("ca", builder.add_extension(usage, critical=True), authority.key)
        return authority

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(_name("mooring-cluster"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + VALID)
        )

    def _write(self, name: str, builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> None:
        certificate = builder.sign(self.key, hashes.SHA256())
        (self.folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (self.folder / f"{name}.key").write_bytes(_private(key))

    def sign(self, name: str, user: str, group: str = "", *, hosts: tuple[str, ...] = ()) -> None:
        """Create `name.key` and `name.crt` for a user, also as a server with the given addresses and names."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name(user, group), key)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if hosts:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            alternatives = x509.SubjectAlternativeName([_host(host) for host in hosts])
            builder = builder.add_extension(alternatives, critical=False)
        self._write(name, builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False), key)

    def kubeconfig(self, name: str, server: str) -> str:
        """Write the kubeconfig for the user of `name.crt`, as JSON, which is YAML."""

        def inline(file: str) -> str:
            return base64.b64encode((self.folder / file).read_bytes()).decode("ascii")

        user = {"client-certificate-data": inline(f"{name}.crt"), "client-key-data": inline(f"{name}.key")}
        cluster = {"server": server, "certificate-authority-data": inline("ca.crt")}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "mooring", "cluster": cluster}],
                "users": [{"name": name, "user": user}],
                "contexts": [{"name": "mooring", "context": {"cluster": "mooring", "user": name}}],
                "current-context": "mooring",
            },
            indent=2,
        )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def write(cluster: Cluster) -> Path:
    """Create all keys, certificates and kubeconfigs of the cluster; return the folder."""
    folder = cluster.folder / "pki"
    authority = Authority.made(folder)
    api = cluster.control_plane.address
    service = "kubernetes.default.svc"
    names = ("localhost", "kubernetes", "kubernetes.default", service, f"{service}.cluster.local")
    authority.sign("kube-apiserver", "kube-apiserver", hosts=(api, "127.0.0.1", FIRST_SERVICE, *names))
    authority.sign("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
    users = {
        "admin": ("admin", "system:masters"),
        "kube-controller-manager": ("system:kube-controller-manager", ""),
        "kube-scheduler": ("system:kube-scheduler", ""),
        "kube-proxy": ("system:kube-proxy", ""),
        "coredns": ("mooring:coredns", ""),
    }
    for name, (user, group) in users.items():
        authority.sign(name, user, group)
    for node in cluster.nodes:
        authority.sign(node.name, f"system:node:{node.name}", "system:nodes", hosts=(node.address, node.name))
    for name in (*users, *(node.name for node in cluster.nodes)):
        (folder / f"{name}.kubeconfig").write_text(authority.kubeconfig(name, f"https://{api}:{API_PORT}"), "utf-8")
    tokens = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "service-accounts.key").write_bytes(_private(tokens))
    public = tokens.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "service-accounts.pub").write_bytes(public)
    cluster.kubeconfig.write_bytes((folder / "admin.kubeconfig").read_bytes())
    cluster.kubeconfig.chmod(0o600)
    return folder
