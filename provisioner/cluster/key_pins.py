"""
Which key each node's driver has: pinned on first contact in a ConfigMap, and from then on the only one accepted.

The key lives on the node and outlives the driver's pod. One that changed may be a machine set up anew, or somebody in
its place: an admin says which, by removing the node's line from the ConfigMap.
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
"""The name that every driver's certificate carries; nodes are told apart by their keys."""
HANDSHAKE_SECONDS = 5.0


class KeyChangedError(Exception):
    """A driver shows another key than the pinned one; says what to do."""


class UnreachableError(Exception):
    """No driver answers there, or none that speaks TLS."""


class Pins:
    """The keys of the drivers."""

    def __init__(self, transport: Transport, *, namespace: str) -> None:
        self._transport = transport
        self._namespace = namespace

    async def check(self, node: str, certificate: bytes) -> None:
        """Accept the driver's certificate (DER) by its key, pinned on first contact. Raises KeyChanged, ApiError."""
        presented = fingerprint(certificate)
        while True:
            try:
                pinned = await self._pinned(node, presented)
                break
            except (AlreadyExists, Conflict):
                continue  # the other replica was faster: read what it wrote
        if pinned != presented:
            raise KeyChangedError(
                f"the driver of node {node} shows another key than the one it had, and is not spoken to. If the node "
                f"was set up anew, accept its key: kubectl -n {self._namespace} patch configmap {NAME} --type=json "
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
    """SHA-256 of the public key in a certificate (DER): it stays when the certificate is made anew."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    public = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(public).hexdigest()}"


async def fetch_certificate(host: str, port: int) -> bytes:
    """
    The certificate (DER) that the driver there shows. Raises Unreachable.

    Nothing is believed yet: gRPC's own handshake, with this certificate as the only one trusted, proves the key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # there the server shows itself before it asks who we are
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=SERVER_NAME)
    except (OSError, TimeoutError) as error:
        raise UnreachableError(f"no driver answers at {host}:{port}: {error or 'no answer in time'}") from None
    try:
        found: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    if not found:
        raise UnreachableError(f"what answers at {host}:{port} shows no certificate")
    return found
