"""
Recover the PersistentVolume of a volume that is only in its pool, as its last claim had it.

The new UIDs are recorded in the manifest by the reconciler `Ownership`, which finds the annotation and retries.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Protocol

import structlog

from csi.v1 import inventory_pb2
from provisioner.actions.adopt import FORMER, owners_of
from provisioner.actions.persistent_volume import Backing, build
from provisioner.binding.lifecycle.recover import Surroundings
from provisioner.kube.errors import NotFound
from provisioner.kube.transport import Transport
from provisioner.model import names
from provisioner.model.inventory import Manifest
from provisioner.model.kinds import CLAIM, NAMESPACE, STORAGE_CLASS, VOLUME, Json, Object
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume
from provisioner.observe.claim_facts import Inventory, readable, view
from provisioner.observe.cluster_uid import CLUSTER_NAMESPACE

log = structlog.get_logger()

NO_CLASS: Object = {"metadata": {"name": ""}}


class Drivers(Inventory, Protocol):
    """The calls to the drivers that recovery needs."""

    async def undelete(self, handle: str) -> "inventory_pb2.Manifest":
        """Restore the volume from the trash."""


class Inspected:
    """The state of the drivers and the API server at one moment; see `inspect`."""

    def __init__(
        self,
        manifests: Iterable[tuple[Manifest, "inventory_pb2.Manifest"]],
        now: Surroundings,
        classes: Mapping[str, Json],
    ) -> None:
        self._manifests = list(manifests)
        self._classes = classes
        self.now = now

    @property
    def manifests(self) -> list[Manifest]:
        """The manifests of volumes and of the trash."""
        return [manifest for manifest, _ in self._manifests]

    async def restore(self, transport: Transport, drivers: Drivers, manifest: Manifest) -> None:
        """
        Create the PersistentVolume of one of the manifests. Raises ApiError and RpcError.

        The controller then decides about a claim that waits for it.
        """
        message = next(message for each, message in self._manifests if each is manifest)
        if manifest.in_trash:
            message = await drivers.undelete(manifest.handle)
        class_name = manifest.holder.get(names.HOLDER_CLASS, "")
        volume = restored(
            message,
            self._classes.get(class_name, NO_CLASS),
            namespace_uid=self.now.namespaces.get(manifest.holder[names.HOLDER_NAMESPACE], ""),
            holder_exists=await _exists(transport, manifest),
        )
        await transport.create(VOLUME, volume)
        key = f"{manifest.holder[names.HOLDER_NAMESPACE]}/{manifest.holder[names.HOLDER_CLAIM]}"
        log.info("volume.recovered", volume=manifest.csi_name, claim=key)


async def inspect(transport: Transport, drivers: Drivers) -> Inspected:
    """Query all drivers and the API server. Raises ApiError, and RpcError when a driver is unavailable."""
    manifests = [(view(each, in_trash=False), each) for each in await drivers.list_manifests()]
    manifests += [(view(each.manifest, in_trash=True), each.manifest) for each in await drivers.list_trash()]
    namespaces = {
        each["metadata"]["name"]: each["metadata"]["uid"]
        for each in (await transport.list(NAMESPACE)).items
        if "deletionTimestamp" not in each["metadata"]
    }
    classes = {each["metadata"]["name"]: each for each in (await transport.list(STORAGE_CLASS)).items}
    # Objects are read last, so that one that is created meanwhile is not missed.
    volumes = readable((await transport.list(VOLUME)).items, Volume.of)
    now = Surroundings(namespaces.get(CLUSTER_NAMESPACE, ""), namespaces, classes.keys(), volumes)
    return Inspected(manifests, now, classes)


async def _exists(transport: Transport, manifest: Manifest) -> bool:
    """Report whether the last owner still exists, by its UID. Raises ApiError."""
    holder = manifest.holder
    try:
        found = await transport.get(CLAIM, holder[names.HOLDER_CLAIM], holder[names.HOLDER_NAMESPACE])
    except NotFound:
        return False
    return bool(found["metadata"]["uid"] == holder.get(names.HOLDER_CLAIM_UID))


def restored(
    manifest: "inventory_pb2.Manifest", storage_class: Object, *, namespace_uid: str, holder_exists: bool = False
) -> Json:
    """
    Return the PersistentVolume. Its policy is Retain, so that only an admin decides about recovered data.

    In a class that adopts, the claim of that name adopts it. In a class that never adopts, the recovery assigns it to
    the claim's name. Where its last owner still exists (`holder_exists`), the claimRef gets that claim's UID; until
    then the binder calls the claim Lost.
    """
    holder = manifest.holder.labels
    spec: Json = {
        "accessModes": holder[names.HOLDER_ACCESS_MODES].split(","),
        "volumeMode": "Block" if manifest.access_type == "block" else "Filesystem",
        "volumeAttributesClassName": holder.get(names.HOLDER_ATTRIBUTES_CLASS, ""),
    }
    is_given = not holder_exists and _never_adopts(storage_class)
    reference = {
        "namespace": holder[names.HOLDER_NAMESPACE],
        "name": holder[names.HOLDER_CLAIM],
        "uid": names.IMPORTED_UID if is_given else holder.get(names.HOLDER_CLAIM_UID) or FORMER,
        "resourceVersion": "",
    }
    volume = build(
        {"metadata": reference, "spec": spec},
        {**storage_class, "reclaimPolicy": "Retain"},
        name=manifest.csi_name,
        backing=Backing(
            handle=manifest.volume_id,
            capacity_bytes=manifest.capacity_bytes,
            context=dict(manifest.volume_context),
            fs_type=manifest.fs_type,
        ),
        labels={**holder, names.HOLDER_NAMESPACE_UID: namespace_uid},
        identity=names.DRIVER,
        owners=owners_of(manifest),
    )
    del volume["spec"]["claimRef"]["resourceVersion"]
    annotations = volume["metadata"]["annotations"]
    annotations[names.RECOVERED] = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if names.RELEASED in holder:
        annotations[names.RELEASED] = holder[names.RELEASED]
    return volume


def _never_adopts(storage_class: Object) -> bool:
    found = StorageClass.of(storage_class)
    return found.is_managed and found.adopts == "Never"
