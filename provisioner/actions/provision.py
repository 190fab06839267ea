"""Provision a volume for a claim: CreateVolume, then the PersistentVolume, repeated until both exist."""

import contextlib
from collections.abc import Container, Mapping
from typing import Protocol

import structlog

from csi.v1 import csi_pb2
from provisioner.actions.persistent_volume import Backing, build, volume_name
from provisioner.drivers.client import Created, VolumeRequest, capability
from provisioner.kube.errors import AlreadyExists
from provisioner.kube.transport import Transport
from provisioner.model.kinds import VOLUME, Json, Object
from provisioner.model.names import DRIVER
from provisioner.model.quantity import Quantity

log = structlog.get_logger()

FS_TYPE = "csi.storage.k8s.io/fstype"
CSI_PREFIX = "csi.storage.k8s.io/"


class Creates(Protocol):
    """The calls to the driver that provisioning needs."""

    async def create_volume(
        self, desired: VolumeRequest, *, may_have_former: bool, candidates: Container[str] | None = None
    ) -> Created:
        """Create the volume unless it exists; without a node, on one of the candidates (None: on any node)."""


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
    Create the claim's volume and its PersistentVolume; return its name.

    :param node: "" for the candidate with the most free capacity
    :param candidates: the nodes to choose from; None for all
    :param mutable: the parameters of its VolumeAttributesClass

    It can be repeated after a crash at any point: the driver finds the volume by its name, and an existing
    PersistentVolume of that name is the one created before. Raises RpcError and ApiError.
    """
    name = volume_name(claim["metadata"]["uid"])
    desired = VolumeRequest(
        name=name,
        required_bytes=Quantity.parse(claim["spec"]["resources"]["requests"]["storage"]).ceil_bytes,
        capabilities=claim_capabilities(claim, storage_class),
        parameters={**driver_parameters(storage_class), **labels},
        mutable_parameters=mutable,
        node=node,
    )
    created = await drivers.create_volume(desired, may_have_former=adopts, candidates=candidates)
    backing = Backing(
        handle=created.handle,
        capacity_bytes=created.capacity_bytes,
        context=created.context,
        fs_type=fs_type(storage_class),
    )
    volume = build(claim, storage_class, name=name, backing=backing, labels=labels, identity=DRIVER)
    await save(transport, volume)
    metadata = claim["metadata"]
    key = f"{metadata['namespace']}/{metadata['name']}"
    log.info("volume.provisioned", volume=name, handle=created.handle, claim=key)
    return name


async def save(transport: Transport, volume: Json) -> None:
    """Create the PersistentVolume; an existing one was created by an earlier attempt."""
    with contextlib.suppress(AlreadyExists):
        await transport.create(VOLUME, volume)


def fs_type(storage_class: Object) -> str:
    """Return the filesystem of the class; "" for the driver's default."""
    return str((storage_class.get("parameters") or {}).get(FS_TYPE, ""))


def driver_parameters(storage_class: Object) -> dict[str, str]:
    """Return the class parameters for the driver, without those of CSI's prefix, which have separate fields."""
    parameters = storage_class.get("parameters") or {}
    return {key: value for key, value in parameters.items() if not key.startswith(CSI_PREFIX)}


def claim_capabilities(claim: Object, storage_class: Object) -> list[csi_pb2.VolumeCapability]:
    """Return one CSI capability for each access mode of the claim."""
    return [
        capability(
            modes=[mode],
            volume_mode=claim["spec"].get("volumeMode") or "Filesystem",
            fs_type=fs_type(storage_class),
            mount_flags=storage_class.get("mountOptions") or (),
        )
        for mode in claim["spec"]["accessModes"]
    ]
