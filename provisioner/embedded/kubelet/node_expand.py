"""
Expand the filesystem of a volume while a pod has it mounted, as kubelet does in a cluster.

Source: kubernetes, pkg/volume/util/operationexecutor/node_expander.go.
"""

from typing import Protocol

import structlog

from provisioner.actions import resize_status
from provisioner.actions.backoff import Backoff
from provisioner.actions.claim_status import write_status
from provisioner.actions.event_dedup import EventDeduplicator
from provisioner.binding.lifecycle.expand import node_part
from provisioner.drivers.client import DriverUnavailable, RpcError
from provisioner.embedded.kubelet.csi_calls import Mounting
from provisioner.kube.cache import Caches
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport
from provisioner.model.claim import Claim
from provisioner.model.kinds import CLAIM, VOLUME, Json
from provisioner.model.quantity import Quantity
from provisioner.model.volume import Volume

log = structlog.get_logger()


class Calls(Protocol):
    """The calls of a driver's Node service that expansion needs."""

    async def expand(self, mounting: Mounting, *, required_bytes: int) -> None:
        """Expand the filesystem."""


class NodeExpander:
    """Expands mounted filesystems, and finishes the status of their claims."""

    def __init__(self, transport: Transport, caches: Caches, recorder: Recorder, *, calls: Calls) -> None:
        self._transport = transport
        self._caches = caches
        self._announcer = EventDeduplicator(recorder)
        self._calls = calls
        self._retries = Backoff()

    def reset_backoff(self, volume_name: str) -> None:
        """Reset the backoff of a volume that was mounted again, since its expansion may succeed now."""
        self._retries.forget(volume_name)

    async def expand(self, volume_name: str, mounting: Mounting) -> float:
        """
        Expand the filesystem of a mounted volume if needed; return the seconds until the next retry, or 0.

        A failure is reported and does not affect the pod: the volume keeps its size.

        Raises DriverUnavailable, ApiError.
        """
        volume = self._caches[VOLUME].get(volume_name)
        ref = (volume["spec"].get("claimRef") or {}) if volume else {}
        found = self._caches[CLAIM].get(ref["name"], ref["namespace"]) if ref.get("name") else None
        size = node_part(Claim.of(found), Volume.of(volume)) if found and volume else None
        if found is None or size is None:
            return 0.0
        if pause := self._retries.left(volume_name, size):
            return pause
        if Claim.of(found).resize_status:
            found = await write_status(self._transport, found, resize_status.on_node(found))
        try:
            await self._calls.expand(mounting, required_bytes=size.ceil_bytes)
        except DriverUnavailable:
            raise
        except RpcError as error:
            return await self._failed(found, volume_name, size, error)
        self._retries.forget(volume_name)
        await write_status(self._transport, found, resize_status.finished(found, size=size))
        message = f"the filesystem of volume {volume_name} was expanded to {size.readable()}"
        await self._announcer.report(found, warning=False, reason="FileSystemResizeSuccessful", message=message)
        log.info("filesystem.expanded", volume=volume_name, size=str(size))
        return 0.0

    async def _failed(self, found: Json, volume_name: str, size: Quantity, error: RpcError) -> float:
        """Report a failure; return the seconds until the retry, or 0 if infeasible, which the controller retries."""
        pause = self._retries.failed(volume_name, size, slowly=error.infeasible)
        status = resize_status.failed_on_node(found, message=error.message, infeasible=error.infeasible)
        await write_status(self._transport, found, status)
        message = (
            f"the filesystem of volume {volume_name} cannot be expanded to {size.readable(up=True)}: {error.message}"
        )
        await self._announcer.report(found, warning=True, reason="FileSystemResizeFailed", message=message)
        return 0.0 if error.infeasible else pause
