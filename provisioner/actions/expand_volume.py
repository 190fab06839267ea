"""The driver's part of growing a volume, and what its PersistentVolume says afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from csi.v1 import csi_pb2
from provisioner.drivers.client import Expanded, capability
from provisioner.kube.transport import Transport
from provisioner.model.kinds import VOLUME, Json, Object
from provisioner.model.names import PRE_RESIZE_CAPACITY
from provisioner.model.quantity import Quantity
from provisioner.model.volume import Volume

log = structlog.get_logger()


class Expands(Protocol):
    """What growing asks of the driver."""

    async def expand_volume(
        self, handle: str, *, required_bytes: int, capability: csi_pb2.VolumeCapability
    ) -> Expanded:
        """Make the volume that large, or find it so."""


@dataclass(frozen=True, slots=True)
class Grown:
    """The volume's new capacity and the annotations that its PersistentVolume has to have."""

    capacity: Quantity
    annotations: Mapping[str, str]
    node_too: bool


async def grow(drivers: Expands, volume: Object, *, size: Quantity, before: str) -> Grown:
    """
    Have the driver make the volume `size` large; safe to repeat. Raises RpcError.

    Where the filesystem has yet to grow, the volume is marked with what it had `before`: a claim that is bound to it
    has no more than that until then. A mark of an earlier growth stays, as that is not over.
    Source: external-resizer, pkg/controller (updatePVCapacity).
    """
    spec = volume["spec"]
    answer = await drivers.expand_volume(
        spec["csi"]["volumeHandle"],
        required_bytes=size.ceil_bytes,
        capability=volume_capability(volume),
    )
    annotations = dict(volume["metadata"].get("annotations") or {})
    if answer.node_too:
        annotations.setdefault(PRE_RESIZE_CAPACITY, before)
    return Grown(Quantity.of_bytes(answer.capacity_bytes), annotations, answer.node_too)


async def write_grown(transport: Transport, volume: Json, grown: Grown) -> None:
    """
    Write it into the PersistentVolume, where it is not written yet. Raises Conflict when that changed meanwhile.

    It never becomes smaller: the driver's answer may be about an earlier, smaller wish.
    """
    metadata = volume["metadata"]
    before = Volume.of(volume).capacity
    capacity = max(grown.capacity, before)
    if (metadata.get("annotations") or {}) == grown.annotations and capacity == before:
        return
    patch: Json = {
        "metadata": {"resourceVersion": metadata["resourceVersion"], "annotations": dict(grown.annotations)},
        "spec": {"capacity": {"storage": str(capacity)}},
    }
    await transport.patch(VOLUME, metadata["name"], patch)
    log.info("volume.expanded", volume=metadata["name"], capacity=str(capacity))


def volume_capability(volume: Object) -> csi_pb2.VolumeCapability:
    """How the volume is used, as its PersistentVolume says."""
    spec = volume["spec"]
    return capability(
        modes=spec.get("accessModes") or (),
        volume_mode=spec.get("volumeMode") or "Filesystem",
        fs_type=(spec.get("csi") or {}).get("fsType", ""),
        mount_flags=spec.get("mountOptions") or (),
    )
