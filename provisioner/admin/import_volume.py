"""What lies on a disk, made a volume of a claim's name, be that claim there or yet to come."""

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
    """What importing asks of the drivers."""

    async def import_volume(
        self, node: str, *, name: str, item: str, pool: str, required_bytes: int, raw: bool, labels: Mapping[str, str]
    ) -> "inventory_pb2.Manifest":
        """Make the volume on that node. Raises RpcError."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """
    What is to be imported, and for which claim.

    `item` is a name in the folder ``import`` of a pool; `pool` may be "". What follows is used only where the claim
    does not exist and cannot tell it itself: class, bytes (0: an image's own), access modes, and whether it is raw.
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
        """The claim, as people write it."""
        return f"{self.namespace}/{self.claim}"

    @property
    def volume(self) -> str:
        """The volume's name: the same again for the same bytes and claim, so that a repetition finds what was begun."""
        said = f"{self.node}\0{self.pool}\0{self.item}\0{self.namespace}\0{self.claim}"
        return f"import-{hashlib.sha256(said.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Planned:
    """What was asked of the API server about a wish; `reason` says why it cannot be done, if so."""

    wish: ImportRequest
    reason: Reason | None
    labels: Mapping[str, str]
    storage_class: Json
    required_bytes: int
    raw: bool

    async def carry_out(self, transport: Transport, drivers: Drivers) -> str:
        """Make the volume, then its object; the name of both. Safe to repeat. Raises RpcError and ApiError."""
        manifest = await drivers.import_volume(
            self.wish.node,
            name=self.wish.volume,
            item=self.wish.item,
            pool=self.wish.pool,
            required_bytes=self.required_bytes,
            raw=self.raw,
            labels=self.labels,
        )
        volume = restored(manifest, self.storage_class, namespace_uid=self.labels[names.HOLDER_NAMESPACE_UID])
        await save(transport, volume)
        log.info("volume.imported", volume=self.wish.volume, claim=self.wish.claim)
        return self.wish.volume


async def plan(transport: Transport, wish: ImportRequest) -> Planned:
    """Look at the claim, its class and whatever else has its name. Raises ApiError and InvalidObject."""
    namespace = await _find(transport, NAMESPACE, wish.namespace)
    cluster = await transport.get(NAMESPACE, CLUSTER_NAMESPACE)
    found = await _find(transport, CLAIM, wish.claim, wish.namespace)
    claim = Claim.of(found) if found else None
    class_name = claim.class_name if claim else wish.class_name
    storage_class = await _find(transport, STORAGE_CLASS, class_name) if class_name else None
    view = StorageClass.of(storage_class) if storage_class else None
    volumes = readable((await transport.list(VOLUME)).items, Volume.of)
    others = [each for each in volumes if each.name != wish.volume]
    reason = cannot_import(wish.key, claim, view, others, class_name=class_name)
    if namespace is None:
        reason = Reason("recover-namespace", wish.volume, requested=wish.namespace)
    labels = {
        names.HOLDER_CLUSTER_UID: cluster["metadata"]["uid"],
        names.HOLDER_NAMESPACE: wish.namespace,
        names.HOLDER_NAMESPACE_UID: namespace["metadata"]["uid"] if namespace else "",
        names.HOLDER_CLAIM: wish.claim,
        names.HOLDER_CLAIM_UID: _for_whom(claim, view),
        names.HOLDER_RECLAIM_POLICY: "Retain",
        names.HOLDER_CLASS: class_name,
        names.HOLDER_ACCESS_MODES: ",".join(claim.modes if claim else wish.modes),
        names.HOLDER_ATTRIBUTES_CLASS: claim.attributes_class if claim else "",
    }
    if place := ordinal_of(wish.claim, (await transport.list(STATEFUL_SET, namespace=wish.namespace)).items):
        labels |= dict(
            zip((names.HOLDER_TEMPLATE, names.HOLDER_STATEFUL_SET, names.HOLDER_ORDINAL), place, strict=True)
        )
    return Planned(
        wish=wish,
        reason=reason,
        labels={key: value for key, value in labels.items() if value},
        storage_class=storage_class or {},
        required_bytes=claim.request.ceil_bytes if claim else wish.size_bytes,
        raw=claim.volume_mode == "Block" if claim else wish.raw,
    )


def _for_whom(claim: Claim | None, storage_class: StorageClass | None) -> str:
    """
    The UID that the volume's claimRef names.

    Where the class adopts, the claim gets it as a former volume, with all that belongs to that, such as growing first;
    where it does not, the claim that is there is named at once.
    """
    adopts = storage_class is not None and storage_class.adopts != "Never"
    return names.IMPORTED_UID if claim is None or adopts else claim.uid


async def _find(transport: Transport, kind: Kind, name: str, namespace: str = "") -> Json | None:
    try:
        return await transport.get(kind, name, namespace)
    except NotFound:
        return None
