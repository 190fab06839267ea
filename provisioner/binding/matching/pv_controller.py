"""
The two state machines of the persistentvolume controller as pure functions: the writes for one claim and one volume.

Source: kubernetes, pkg/controller/volume/persistentvolume/pv_controller.go (syncUnboundClaim, syncBoundClaim,
syncVolume). Each step has the number of the rule in that order: U for claims not bound before, B for those that were,
V for volumes. In a cluster kube-controller-manager does this; the engine does it with these functions.
"""

import enum
from dataclasses import dataclass

from provisioner.binding.matching.index import Index
from provisioner.binding.matching.match import unsatisfied
from provisioner.model.claim import Claim
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume


@dataclass(frozen=True, slots=True)
class Event:
    """An Event to record on the object."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ClaimStep:
    """
    The writes for a claim: at most one of `bind_to`, `set_class` and `provisioner`.

    `phase` "" does not change the phase. `bind_to` means all four writes of a bind, each skipped where it has been
    done already.
    """

    rule: str
    phase: str = ""
    bind_to: Volume | None = None
    set_class: str = ""
    provisioner: str = ""
    event: Event | None = None


class ClaimRefChange(enum.Enum):
    """The change of a volume's claimRef."""

    KEEP = "keep"
    CLEAR = "clear"
    KEEP_NAME = "keep name"


@dataclass(frozen=True, slots=True)
class VolumeStep:
    """The writes for a volume; `reclaim` means that its reclaim policy takes effect now."""

    rule: str
    phase: str = ""
    claim_ref: ClaimRefChange = ClaimRefChange.KEEP
    reclaim: bool = False
    enqueue_claim: bool = False
    event: Event | None = None


def claim_step(
    claim: Claim,
    *,
    volumes: Index,
    storage_class: StorageClass | None,
    default_class: StorageClass | None,
) -> ClaimStep:
    """Return the next writes for one claim. `storage_class` is None when the claim names none or an unknown one."""
    named = volumes.get(claim.volume_name)
    if claim.bind_completed:
        return _bound_before(claim, named)
    if claim.volume_name:
        return _names_a_volume(claim, named)
    waits = storage_class is not None and storage_class.waits_for_consumer
    if found := volumes.match_claim(claim, delay=waits):
        return ClaimStep("U1", "Bound", bind_to=found)
    if not claim.has_class and default_class is not None:
        return ClaimStep("U2", set_class=default_class.name)
    if waits and not claim.selected_node:
        message = "waiting for first consumer to be created before binding"
        return ClaimStep("U3", "Pending", event=Event("Normal", "WaitForFirstConsumer", message))
    if claim.class_name:
        return _provision(claim, storage_class)
    message = "no persistent volumes available for this claim and no storage class is set"
    return ClaimStep("U5", "Pending", event=Event("Normal", "FailedBinding", message))


def _provision(claim: Claim, storage_class: StorageClass | None) -> ClaimStep:
    if storage_class is None:
        message = f'storageclass.storage.k8s.io "{claim.class_name}" not found'
        return ClaimStep("U4", event=Event("Warning", "ProvisioningFailed", message))
    if storage_class.provisioner.startswith("kubernetes.io/"):
        message = f"no volume plugin matched name: {storage_class.provisioner}"
        return ClaimStep("U4", event=Event("Warning", "ProvisioningFailed", message))
    message = f"Waiting for a volume to be created by the external provisioner '{storage_class.provisioner}'"
    event = Event("Normal", "ExternalProvisioning", message)
    return ClaimStep("U4", provisioner=storage_class.provisioner, event=event)


def _names_a_volume(claim: Claim, volume: Volume | None) -> ClaimStep:
    if volume is None:
        return ClaimStep("U6", "Pending")
    if volume.claim_ref is None:
        problem = unsatisfied(claim, volume)
        if problem is None:
            return ClaimStep("U7", "Bound", bind_to=volume)
        message = f'Cannot bind to requested volume "{volume.name}": {problem.message}'
        return ClaimStep("U8", "Pending", event=Event("Warning", "VolumeMismatch", message))
    if volume.belongs_to(claim):
        return ClaimStep("U9", "Bound", bind_to=volume)
    message = f'volume "{volume.name}" already bound to a different claim.'
    rule = "U11" if claim.bound_by_controller else "U10"
    phase = "" if claim.bound_by_controller else "Pending"
    return ClaimStep(rule, phase, event=Event("Warning", "FailedBinding", message))


def _bound_before(claim: Claim, volume: Volume | None) -> ClaimStep:
    if not claim.volume_name or volume is None:
        message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        event = Event("Warning", "ClaimLost", message)
        return ClaimStep("B2" if claim.volume_name else "B1", "Lost", event=event)
    if volume.claim_ref is None:
        return ClaimStep("B3", "Bound", bind_to=volume)
    if volume.claim_ref.uid == claim.uid:
        return ClaimStep("B4", "Bound", bind_to=volume)
    message = "Two claims are bound to the same volume, this one is bound incorrectly"
    return ClaimStep("B5", "Lost", event=Event("Warning", "ClaimMisbound", message))


def volume_step(volume: Volume, *, claim: Claim | None) -> VolumeStep:
    """
    Return the next writes for one volume. `claim` is the existing claim of its claimRef, or None when there is none.

    The caller reads the claim from the API server where a cached one would mean that the volume is released: a stale
    cache must not release a volume.
    """
    ref = volume.claim_ref
    if ref is None:
        return VolumeStep("V1", "Available")
    if not ref.uid:
        return VolumeStep("V2", "Available")
    if claim is None or claim.uid != ref.uid:
        return VolumeStep("V4", _released(volume), reclaim=True)
    if not claim.volume_name:
        if claim.volume_mode != volume.volume_mode:
            message = f"Cannot bind volume {volume.name} to claim {claim.key}: the volume modes differ"
            return VolumeStep("V6", event=Event("Warning", "VolumeMismatch", message))
        return VolumeStep("V6", enqueue_claim=True)
    if claim.volume_name == volume.name:
        return VolumeStep("V7", "Bound")
    if volume.provisioned_by and volume.reclaim_policy == "Delete":
        return VolumeStep("V8a", _released(volume), reclaim=True)
    if volume.bound_by_controller:
        return VolumeStep("V8b", "Available", ClaimRefChange.CLEAR)
    return VolumeStep("V8c", "Available", ClaimRefChange.KEEP_NAME)


def _released(volume: Volume) -> str:
    return "Failed" if volume.phase == "Failed" else "Released"
