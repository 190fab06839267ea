"""Expand a volume with the driver, and update its PersistentVolume."""

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
    """The calls to the driver that expansion needs."""

    async def expand_volume(
        self, handle: str, *, required_bytes: int, capability: csi_pb2.VolumeCapability
    ) -> Expanded:
        """Expand the volume to that size, unless it is that large already."""


@dataclass(frozen=True, slots=True)
class ExpandResult:
    """The volume's new capacity, and the annotations of its PersistentVolume."""

    capacity: Quantity
    annotations: Mapping[str, str]
    node_expansion_required: bool


async def expand(drivers: Expands, volume: Object, *, size: Quantity, before: str) -> ExpandResult:
    """
    Have the driver expand the volume to `size`; idempotent. Raises RpcError.

    Where the filesystem is not expanded yet, the volume is annotated with its size `before`, which a claim that is
    bound to it reports until then. The annotation of an unfinished earlier expansion stays.
    Source: external-resizer, pkg/controller (updatePVCapacity).
    """
    spec = volume["spec"]
    answer = await drivers.expand_volume(
        spec["csi"]["volumeHandle"],
        required_bytes=size.ceil_bytes,
        capability=volume_capability(volume),
    )
    annotations = dict(volume["metadata"].get("annotations") or {})
    if answer.node_expansion_required:
        annotations.setdefault(PRE_RESIZE_CAPACITY, before)
    return ExpandResult(Quantity.of_bytes(answer.capacity_bytes), annotations, answer.node_expansion_required)


async def write_expanded(transport: Transport, volume: Json, result: ExpandResult) -> None:
    """
    Write the result into the PersistentVolume, unless it is there already. Raises Conflict when that changed meanwhile.

    The capacity never decreases: the driver's answer may be for an earlier, smaller request.
    """
    metadata = volume["metadata"]
    before = Volume.of(volume).capacity
    capacity = max(result.capacity, before)
    if (metadata.get("annotations") or {}) == result.annotations and capacity == before:
        return
    patch: Json = {
        "metadata": {"resourceVersion": metadata["resourceVersion"], "annotations": dict(result.annotations)},
        "spec": {"capacity": {"storage": str(capacity)}},
    }
    await transport.patch(VOLUME, metadata["name"], patch)
    log.info("volume.expanded", volume=metadata["name"], capacity=str(capacity))


def volume_capability(volume: Object) -> csi_pb2.VolumeCapability:
    """Return the CSI capability that describes the use of the PersistentVolume."""
    spec = volume["spec"]
    return capability(
        modes=spec.get("accessModes") or (),
        volume_mode=spec.get("volumeMode") or "Filesystem",
        fs_type=(spec.get("csi") or {}).get("fsType", ""),
        mount_flags=spec.get("mountOptions") or (),
    )
