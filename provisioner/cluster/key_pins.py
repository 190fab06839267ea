"""
The key of each node's driver: pinned in a ConfigMap on first contact, and from then on the only accepted key.

The key is stored on the node and outlives the driver's pod. A changed key means that the node was reinstalled, or that
another machine impersonates it. An admin who knows that it was reinstalled removes its entry from the ConfigMap.
"""

import asyncio
import hashlib
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from provisioner.cluster.trust import LABELS
from provisioner.kube.errors import AlreadyExists, Conflict, NotFound
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CONFIG_MAP

NAME = "mooring-driver-keys"
SERVER_NAME = "driver.csi.mooring.dev"
"""The name in every driver's certificate; nodes are distinguished by their keys."""
HANDSHAKE_SECONDS = 5.0


class KeyChangedError(Exception):
    """A driver presents another key than the pinned one. The message has the command that accepts it."""


class UnreachableError(Exception):
    """No driver responds at the address, or none with TLS."""


class Pins:
    """The pinned keys of the drivers."""

    def __init__(self, transport: Transport, *, namespace: str) -> None:
        self._transport = transport
        self._namespace = namespace

    async def check(self, node: str, certificate: bytes) -> None:
        """Check the key of a driver's certificate (DER); pin it on first contact. Raise KeyChangedError, ApiError."""
        presented = fingerprint(certificate)
        while True:
            try:
                pinned = await self._pinned(node, presented)
                break
            except (AlreadyExists, Conflict):
                continue  # another replica wrote first: read the ConfigMap again
        if pinned != presented:
            raise KeyChangedError(
                f"the driver of node {node} presents another key than before; the controller does not connect to it. "
                "If the node was reinstalled, accept its key: "
                f"kubectl -n {self._namespace} patch configmap {NAME} --type=json "
                f"""-p '[{{"op": "remove", "path": "/data/{node}"}}]'"""
            )

    async def _pinned(self, node: str, presented: str) -> str:
        try:
            found = await self._transport.get(CONFIG_MAP, NAME, self._namespace)
        except NotFound:
            metadata = {"name": NAME, "namespace": self._namespace, "labels": LABELS}
            await self._transport.create(CONFIG_MAP, {"metadata": metadata, "data": {node: presented}})
            return presented
        if pinned := (found.get("data") or {}).get(node):
            return str(pinned)
        guard = {"resourceVersion": found["metadata"]["resourceVersion"]}
        patch = {"metadata": guard, "data": {node: presented}}
        await self._transport.patch(CONFIG_MAP, NAME, patch, namespace=self._namespace)
        return presented


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of the public key of a certificate (DER); a renewed certificate has the same."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    public = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(public).hexdigest()}"


async def fetch_certificate(host: str, port: int) -> bytes:
    """
    Return the certificate (DER) that the driver at the address presents. Raise UnreachableError.

    It is not trusted yet: gRPC's handshake, with this certificate as the only trusted one, proves the key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # here the server's certificate precedes the client's
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=SERVER_NAME)
    except (OSError, TimeoutError) as error:
        raise UnreachableError(f"no driver responds at {host}:{port}: {error or 'timed out'}") from None
    try:
        found: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    if not found:
        raise UnreachableError(f"the server at {host}:{port} presents no certificate")
    return found
