"""
The authority, kept in a Secret of our namespace, and what drivers trust of it, in a ConfigMap that their pods mount.

Every replica does this, the leader or not: the writes are guarded, and whoever is late finds it done.
"""

import base64
import datetime as dt
from collections.abc import Callable

import structlog

from provisioner.cluster.authority import (
    Authority,
    ClientCertificate,
    bundle,
    renewed,
    read,
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
        What to show to drivers now; another object as soon as it was signed anew.

        The Secret and the ConfigMap are made or mended on the way. Raises ApiError.
        """
        while True:
            try:
                authorities = await self._authorities()
                await self._publish(bundle(authorities))
                break
            except (AlreadyExists, Conflict):
                continue  # the other replica was faster: read what it wrote
        now = self._clock()
        by = signer(authorities, now)
        cached = self._certificate
        if cached is None or cached[0].certificate != by.certificate or cached[1].renew_at <= now:
            cached = self._certificate = (by, sign_client(by, now))
            log.info("certificate.signed", authority_until=by.expires.isoformat(), renew_at=cached[1].renew_at.isoformat())
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
        """Make it, or change it as it was read. Raises AlreadyExists and Conflict."""
        if before is None:
            metadata = {"name": NAME, "namespace": self._namespace, "labels": LABELS}
            await self._transport.create(kind, {"metadata": metadata, **content})
            return
        guard = {"metadata": {"resourceVersion": before["metadata"]["resourceVersion"]}}
        await self._transport.patch(kind, NAME, guard | content, namespace=self._namespace)
