"""Import data on a disk as the volume of a claim, which may exist or be created later."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from csi.v1 import inventory_pb2
from provisioner.actions.ownership_labels import ordinal_of
from provisioner.actions.provision import save
from provisioner.admin.recover import restored
from provisioner.binding.adoption.manual import cannot_import
from provisioner.binding.decision import Reason
from provisioner.kube.errors import NotFound
from provisioner.kube.transport import Transport
from provisioner.model import names
from provisioner.model.claim import Claim
from provisioner.model.kinds import CLAIM, NAMESPACE, STATEFUL_SET, STORAGE_CLASS, VOLUME, Json, Kind
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume
from provisioner.observe.claim_facts import readable
from provisioner.observe.cluster_uid import CLUSTER_NAMESPACE

log = structlog.get_logger()


class Drivers(Protocol):
    """The calls to the drivers that an import needs."""

    async def import_volume(
        self, node: str, *, name: str, item: str, pool: str, required_bytes: int, raw: bool, labels: Mapping[str, str]
    ) -> "inventory_pb2.Manifest":
        """Create the volume on that node. Raises RpcError."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """
    The data to import, and the claim to import it for.

    `item` is a name in the folder ``import`` of a pool; `pool` may be "". Class, bytes (0: the size of the image),
    access modes and raw are used only when the claim does not exist.
    """

    item: str
    namespace: str
    claim: str
    node: str
    pool: str
    class_name: str
    size_bytes: int
    modes: Sequence[str]
    raw: bool

    @property
    def key(self) -> str:
        """The claim as ``namespace/name``."""
        return f"{self.namespace}/{self.claim}"

    @property
    def volume(self) -> str:
        """The volume's name: the same for the same data and claim, so that the import can be repeated."""
        identity = f"{self.node}\0{self.pool}\0{self.item}\0{self.namespace}\0{self.claim}"
        return f"import-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Planned:
    """The objects of the API server for an import request; `reason` is set when it is refused."""

    request: ImportRequest
    reason: Reason | None
    labels: Mapping[str, str]
    storage_class: Json
    required_bytes: int
    raw: bool

    async def carry_out(self, transport: Transport, drivers: Drivers) -> str:
        """Create the volume, then its PersistentVolume; return their name. Idempotent. Raises RpcError and ApiError."""
        manifest = await drivers.import_volume(
            self.request.node,
            name=self.request.volume,
            item=self.request.item,
            pool=self.request.pool,
            required_bytes=self.required_bytes,
            raw=self.raw,
            labels=self.labels,
        )
        volume = restored(manifest, self.storage_class, namespace_uid=self.labels[names.HOLDER_NAMESPACE_UID])
        await save(transport, volume)
        log.info("volume.imported", volume=self.request.volume, claim=self.request.key)
        return self.request.volume


async def plan(transport: Transport, request: ImportRequest) -> Planned:
    """Read the claim, its class and the volumes of its name. Raises ApiError and InvalidObjectError."""
    namespace = await _find(transport, NAMESPACE, request.namespace)
    cluster = await transport.get(NAMESPACE, CLUSTER_NAMESPACE)
    found = await _find(transport, CLAIM, request.claim, request.namespace)
    claim = Claim.of(found) if found else None
    class_name = claim.class_name if claim else request.class_name
    storage_class = await _find(transport, STORAGE_CLASS, class_name) if class_name else None
    view = StorageClass.of(storage_class) if storage_class else None
    volumes = readable((await transport.list(VOLUME)).items, Volume.of)
    others = [each for each in volumes if each.name != request.volume]
    reason = cannot_import(request.key, claim, view, others, class_name=class_name)
    if namespace is None:
        reason = Reason("recover-namespace", request.volume, requested=request.namespace)
    labels = {
        names.HOLDER_CLUSTER_UID: cluster["metadata"]["uid"],
        names.HOLDER_NAMESPACE: request.namespace,
        names.HOLDER_NAMESPACE_UID: namespace["metadata"]["uid"] if namespace else "",
        names.HOLDER_CLAIM: request.claim,
        names.HOLDER_CLAIM_UID: _for_whom(claim, view),
        names.HOLDER_RECLAIM_POLICY: "Retain",
        names.HOLDER_CLASS: class_name,
        names.HOLDER_ACCESS_MODES: ",".join(claim.modes if claim else request.modes),
        names.HOLDER_ATTRIBUTES_CLASS: claim.attributes_class if claim else "",
    }
    if ordinal := ordinal_of(request.claim, (await transport.list(STATEFUL_SET, namespace=request.namespace)).items):
        labels |= dict(
            zip((names.HOLDER_TEMPLATE, names.HOLDER_STATEFUL_SET, names.HOLDER_ORDINAL), ordinal, strict=True)
        )
    return Planned(
        request=request,
        reason=reason,
        labels={key: value for key, value in labels.items() if value},
        storage_class=storage_class or {},
        required_bytes=claim.request.ceil_bytes if claim else request.size_bytes,
        raw=claim.volume_mode == "Block" if claim else request.raw,
    )


def _for_whom(claim: Claim | None, storage_class: StorageClass | None) -> str:
    """
    Return the UID for the volume's claimRef.

    Where the class adopts, the claim adopts the volume as a former one, after an expansion if needed; where it does
    not, an existing claim is named directly.
    """
    adopts = storage_class is not None and storage_class.adopts != "Never"
    return names.IMPORTED_UID if claim is None or adopts else claim.uid


async def _find(transport: Transport, kind: Kind, name: str, namespace: str = "") -> Json | None:
    try:
        return await transport.get(kind, name, namespace)
    except NotFound:
        return None
