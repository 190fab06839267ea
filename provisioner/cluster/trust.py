"""
The certificate authority, stored in a Secret, and its bundle in a ConfigMap that the drivers' pods mount.

Every replica maintains both, not only the leader: the writes are guarded by resourceVersion, and a replica that is late
finds them done.
"""

import base64
import datetime as dt
from collections.abc import Callable

import structlog

from provisioner.cluster.authority import (
    Authority,
    ClientCertificate,
    bundle,
    read,
    renewed,
    sign_client,
    signer,
    write,
)
from provisioner.kube.errors import AlreadyExists, Conflict, NotFound
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CONFIG_MAP, SECRET, Json, Kind

log = structlog.get_logger()

NAME = "mooring-controller-ca"
SECRET_KEY = "authorities.pem"  # noqa: S105 - a key of a Secret, not one itself
CONFIG_KEY = "ca.crt"
LABELS = {"app.kubernetes.io/name": "mooring", "app.kubernetes.io/component": "controller"}


class Trust:
    """The controller's side of mutual TLS."""

    def __init__(
        self,
        transport: Transport,
        *,
        namespace: str,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._transport = transport
        self._namespace = namespace
        self._clock = clock
        self._certificate: tuple[Authority, ClientCertificate] | None = None

    async def certificate(self) -> ClientCertificate:
        """
        Return the certificate to present to drivers; a new object after each renewal.

        The Secret and the ConfigMap are created or repaired as needed. Raise ApiError.
        """
        while True:
            try:
                authorities = await self._authorities()
                await self._publish(bundle(authorities))
                break
            except (AlreadyExists, Conflict):
                continue  # another replica wrote first: read both again
        now = self._clock()
        by = signer(authorities, now)
        cached = self._certificate
        if cached is None or cached[0].certificate != by.certificate or cached[1].renew_at <= now:
            cached = self._certificate = (by, sign_client(by, now))
            log.info(
                "certificate.signed", authority_until=by.expires.isoformat(), renew_at=cached[1].renew_at.isoformat()
            )
        return cached[1]

    async def _authorities(self) -> list[Authority]:
        secret = await self._found(SECRET)
        before: list[Authority] = []
        if secret is not None:
            try:
                before = read(base64.b64decode((secret.get("data") or {}).get(SECRET_KEY, ""), validate=True))
            except ValueError as error:
                log.warning("authority.unreadable", secret=f"{self._namespace}/{NAME}", error=str(error))
        after = renewed(before, self._clock())
        if [each.certificate for each in after] != [each.certificate for each in before]:
            await self._write(SECRET, secret, {"data": {SECRET_KEY: base64.b64encode(write(after)).decode()}})
            log.info("authority.written", secret=f"{self._namespace}/{NAME}", authorities=len(after))
        return after

    async def _publish(self, text: str) -> None:
        config = await self._found(CONFIG_MAP)
        if config is None or (config.get("data") or {}).get(CONFIG_KEY) != text:
            await self._write(CONFIG_MAP, config, {"data": {CONFIG_KEY: text}})

    async def _found(self, kind: Kind) -> Json | None:
        try:
            return await self._transport.get(kind, NAME, self._namespace)
        except NotFound:
            return None

    async def _write(self, kind: Kind, before: Json | None, content: Json) -> None:
        """Create the object, or change it as it was read. Raise AlreadyExists and Conflict."""
        if before is None:
            metadata = {"name": NAME, "namespace": self._namespace, "labels": LABELS}
            await self._transport.create(kind, {"metadata": metadata, **content})
            return
        guard = {"metadata": {"resourceVersion": before["metadata"]["resourceVersion"]}}
        await self._transport.patch(kind, NAME, guard | content, namespace=self._namespace)
