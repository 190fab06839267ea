"""A new volume for a claim: CreateVolume, then the PersistentVolume, saved until it is saved."""

import contextlib
from collections.abc import Container, Mapping, Sequence
from typing import Protocol

import structlog

from csi.v1 import csi_pb2
from provisioner.actions.persistent_volume import Backing, build, volume_name
from provisioner.drivers.client import Created, capability
from provisioner.kube.errors import AlreadyExists
from provisioner.kube.transport import Transport
from provisioner.model.kinds import VOLUME, Json, Object
from provisioner.model.names import DRIVER, NODE_TOPOLOGY
from provisioner.model.quantity import Quantity

log = structlog.get_logger()

FS_TYPE = "csi.storage.k8s.io/fstype"
CSI_PREFIX = "csi.storage.k8s.io/"


class Creates(Protocol):
    """What provisioning asks of the driver."""

    async def create_volume(
        self,
        *,
        name: str,
        required_bytes: int,
        capabilities: Sequence[csi_pb2.VolumeCapability],
        parameters: Mapping[str, str],
        mutable_parameters: Mapping[str, str],
        segments: Mapping[str, str],
        may_have_former: bool,
        candidates: Container[str] | None = None,
    ) -> Created:
        """Make the volume, or find it; without a node, on one of the candidates (None: on any)."""


async def provision(
    transport: Transport,
    drivers: Creates,
    *,
    claim: Object,
    storage_class: Object,
    labels: Mapping[str, str],
    mutable: Mapping[str, str],
    node: str,
    candidates: Container[str] | None,
    adopts: bool,
) -> str:
    """
    Make the claim's volume and its PersistentVolume, on `node`, or with "" where most room is; the volume's name.

    `candidates` are the nodes to choose from (None: all), `mutable` the parameters of its VolumeAttributesClass.
    Safe to repeat after a crash at any point: the driver finds the volume by its name, and an existing PersistentVolume
    of that name is the one made before. Raises RpcError and ApiError.
    """
    name = volume_name(claim["metadata"]["uid"])
    created = await drivers.create_volume(
        name=name,
        required_bytes=Quantity.parse(claim["spec"]["resources"]["requests"]["storage"]).ceil_bytes,
        capabilities=claim_capabilities(claim, storage_class),
        parameters={**driver_parameters(storage_class), **labels},
        mutable_parameters=mutable,
        segments={NODE_TOPOLOGY: node} if node else {},
        may_have_former=adopts,
        candidates=candidates,
    )
    backing = Backing(
        handle=created.handle,
        capacity_bytes=created.capacity_bytes,
        context=created.context,
        fs_type=fs_type(storage_class),
    )
    volume = build(claim, storage_class, name=name, backing=backing, labels=labels, identity=DRIVER)
    await save(transport, volume)
    log.info("volume.provisioned", volume=name, handle=created.handle, claim=claim["metadata"]["name"])
    return name


async def save(transport: Transport, volume: Json) -> None:
    """Create the PersistentVolume; one that exists already is the one that an earlier try made."""
    with contextlib.suppress(AlreadyExists):
        await transport.create(VOLUME, volume)


def fs_type(storage_class: Object) -> str:
    """The filesystem that the class asks for; "" leaves it to the driver."""
    return str((storage_class.get("parameters") or {}).get(FS_TYPE, ""))


def driver_parameters(storage_class: Object) -> dict[str, str]:
    """The class parameters that the driver sees; those of CSI's own prefix travel in the request's other fields."""
    parameters = storage_class.get("parameters") or {}
    return {key: value for key, value in parameters.items() if not key.startswith(CSI_PREFIX)}


def claim_capabilities(claim: Object, storage_class: Object) -> list[csi_pb2.VolumeCapability]:
    """What the claim asks for: one CSI capability for each of its access modes."""
    return [
        capability(
            modes=[mode],
            volume_mode=claim["spec"].get("volumeMode") or "Filesystem",
            fs_type=fs_type(storage_class),
            mount_flags=storage_class.get("mountOptions") or (),
        )
        for mode in claim["spec"]["accessModes"]
    ]
