"""A decision: an action and its reasons, as data that Events, the command line and tests share."""

import enum
from dataclasses import dataclass
from typing import Final


class Action(enum.Enum):
    """The action to take for a claim."""

    DONE = "done"
    """The claim is bound; there is nothing to do."""
    BIND = "bind"
    """Bind the claim to the volume of the decision, which is reserved for it or fits best."""
    ADOPT = "adopt"
    """Point the claimRef of its former volume at the claim."""
    EXPAND = "expand"
    """Expand its former volume, which is smaller than requested, before it is adopted."""
    REBUILD = "rebuild"
    """Create the PersistentVolume of its former volume, which is in a pool without one."""
    UNDELETE = "undelete"
    """Restore its former volume from the trash, then create its PersistentVolume."""
    REVERT_ADOPTION = "revert adoption"
    """Revert the adoption of its former volume, not bound yet: its siblings cannot adopt theirs."""
    PROVISION = "provision"
    """Provision a new volume."""
    WAIT = "wait"
    """Do nothing yet; the reasons describe why, and what an admin can do."""
    NOT_MANAGED = "not managed"
    """Another provisioner or binder decides."""


MESSAGES: Final[dict[str, str]] = {
    "taken-by-sibling": "another claim of the same pod gets it",
    "other-claim": "it belongs to claim {actual}",
    "former-claim": "it belongs to an earlier claim of the same name (UID {actual})",
    "capacity": "its capacity is {actual}, less than the requested {requested}",
    "volume-mode": "its volumeMode is {actual}, not {requested}",
    "attributes-class": "its VolumeAttributesClass is {actual}, not {requested}",
    "deleting": "it is being deleted",
    "waits-for-consumer": "its class waits for the first consumer; the scheduler chooses the volume then",
    "phase": "its phase is {actual}, not {requested}",
    "selector": "its labels do not match the claim's selector ({requested})",
    "class": "its class is {actual}, not {requested}",
    "affinity": "node {requested} cannot reach it",
    "access-modes": "its access modes are {actual}; the claim requests {requested}",
    "volume-unknown": (
        "volume {requested}, which the claim names, does not exist; create it, or recreate the claim without it"
    ),
    "bound": "it is bound to volume {actual}",
    "lost": "it was bound to volume {requested}, which {actual}; Kubernetes calls such a claim Lost",
    "no-class": "it names no StorageClass, none is default, and no volume without a class fits; name a class",
    "class-unknown": "StorageClass {requested} does not exist; create it, or recreate the claim with another class",
    "class-foreign": "StorageClass {requested} is served by {actual}, not by Mooring",
    "class-static": "StorageClass {requested} has no provisioner; an admin must create a volume that fits",
    "class-parameters": "StorageClass {requested} cannot be used: {actual}",
    "class-adopt-delete": (
        "StorageClass {requested} has adopt: {actual} and reclaimPolicy: Delete, which contradict each other; use "
        "reclaimPolicy: Retain, or adopt: Never"
    ),
    "selector-set": "it has a selector, and a new volume cannot be provisioned for a selector; remove it",
    "source-unsupported": (
        "its data source is {requested}, and Mooring does not restore snapshots or clone claims yet; the claim waits, "
        "and no empty volume is created for it; recreate the claim without a data source to get an empty volume"
    ),
    "source-namespace": (
        "its data source {requested} is in another namespace (dataSourceRef.namespace), which is not supported; "
        "recreate the claim with a source in its own namespace"
    ),
    "source-populator": (
        "its data source is {requested}; Mooring provisions nothing and leaves the volume to an external populator; "
        "install the populator of that kind if there is none"
    ),
    "first-consumer": "its class waits for the first pod that uses it, and no pod does; create the pod",
    "unscheduled": "its class waits until pod {actual} is scheduled to a node",
    "node-name": "pod {actual} sets spec.nodeName, which bypasses the scheduler; use nodeSelector instead",
    "node-unknown": "its selected node {requested} does not exist",
    "class-topology": "its selected node {requested} is not in the allowedTopologies of StorageClass {actual}",
    "sibling-elsewhere": (
        "its selected node {requested} cannot reach volume {actual} of the same pod; the scheduler is asked for "
        "another node"
    ),
    "sibling-unavailable": (
        "its pod also needs volume {actual}, which is on no available node; start that node or mount the disk"
    ),
    "sibling-waits": "its pod also needs claim {requested}, which waits: {actual}",
    "after-sibling": "claim {requested} of the same pod gets its volume first, so that both volumes are on one node",
    "pool-full": (
        "no pool has {requested} of free capacity (largest: {actual}); `mooring pools` and `mooring volumes` show "
        "what uses it: delete volumes, erase those without a PersistentVolume, or add a pool"
    ),
    "pool-unknown": "no eligible node has a pool named {requested}; create it, or name one of: {actual}",
    "pool-none": "no eligible node has a pool; create one with `mooring pool init`, or start the driver of its node",
    "pool-unusable": "no pool can be used now: {actual}",
    "pool-backend": "no pool supports backend {requested}; the eligible pools support: {actual}",
    "class-modes": (
        "it requests access mode {requested}, and a volume on one node's disk supports only {actual}; recreate the "
        "claim with one of those"
    ),
    "class-block": (
        "it requests a raw block volume, which backend {actual} of StorageClass {requested} does not support; use a "
        "class with backend loop"
    ),
    "class-no-node": (
        "no node is in the allowedTopologies of StorageClass {requested} ({actual}); label a node accordingly, or "
        "recreate the claim with another class"
    ),
    "creation-refused": (
        "creating its volume was refused at {requested}: {actual}; it is retried periodically, and at once when the "
        "claim or its class changes"
    ),
    "creation-blocked": "{actual} (since {requested})",
    "provisioning": "a volume is being provisioned for it",
    "expanding": "it is being expanded from {actual} to {requested}",
    "expand-failed": "it is not expanded to {requested} yet, which is retried: {actual}",
    "expand-refused": (
        "it cannot be expanded to {requested}: {actual}; request less, or free capacity in the pool; it is retried"
    ),
    "node-expand-pending": (
        "its volume is expanded to {requested}, and its filesystem has {actual} until the node expands it, which "
        "happens when a pod uses it"
    ),
    "node-expand-refused": "its volume is expanded to {requested}, but the node cannot expand its filesystem: {actual}",
    "expand-not-allowed": (
        "it requests more than its capacity, and StorageClass {actual} does not have allowVolumeExpansion: true"
    ),
    "modifying": "it is being modified from VolumeAttributesClass {actual} to {requested}",
    "modify-failed": "it is not modified to VolumeAttributesClass {requested} yet, which is retried: {actual}",
    "modify-refused": (
        "it cannot be modified to VolumeAttributesClass {requested}: {actual}; request another class, or the former one"
    ),
    "attributes-class-unknown": "VolumeAttributesClass {requested} does not exist; create it, or request another",
    "attributes-class-foreign": "VolumeAttributesClass {requested} is for driver {actual}; request another",
    "node-lost": (
        "node {requested}, which has its volume, has been lost since {actual}; unless the node or its disk returns "
        "soon, the claim is deleted because its class has onNodeLoss: Release, and the volume is retained"
    ),
    "former-ordinal": (
        "it has the data of ordinal {actual}, and the claim is not an ordinal of an existing StatefulSet; create the "
        "StatefulSet {requested}"
    ),
    "former-other-ordinal": (
        "it was bound under this name for pod {actual}, and the claim is for pod {requested}; if the data belongs to "
        "it, assign the volume with `mooring adopt`"
    ),
    "former-deleting": "it is the claim's former volume and is being deleted; the claim waits until it is deleted",
    "former-policy": (
        "it is the claim's former volume, and its reclaim policy is {actual}; set it to Retain to keep the volume"
    ),
    "former-too-small": (
        "it is the claim's former volume, its capacity is {actual}, less than the requested {requested}, and its "
        "class does not allow expansion; request {actual}, or set allowVolumeExpansion: true on the class"
    ),
    "former-expanding": (
        "it is the claim's former volume, and its capacity is {actual}; it is adopted as soon as it is expanded to "
        "{requested}"
    ),
    "former-modes": (
        "it is the claim's former volume, and its access modes are {actual}; request them instead of {requested}"
    ),
    "former-volume-mode": (
        "it is the claim's former volume, and its volumeMode is {actual}; request that instead of {requested}"
    ),
    "former-selector": (
        "it is the claim's former volume, and its labels do not match the claim's selector ({requested})"
    ),
    "former-class": (
        "it is the claim's former volume, and its class is {actual}, not {requested}; recreate the claim with class "
        "{actual}"
    ),
    "former-attributes-class": (
        "it is the claim's former volume and has VolumeAttributesClass {actual}, which Kubernetes cannot remove, "
        "while the claim requests none; recreate the claim with volumeAttributesClassName: {actual}, or with another "
        "class"
    ),
    "former-backend": (
        "it is the claim's former volume, and its backend is {actual}; recreate the claim with a class of backend "
        "{actual} instead of {requested}"
    ),
    "former-not-preferred": (
        "it is the claim's former volume, and the binder would choose volume {actual} instead, which has fewer access "
        "modes; request {requested}"
    ),
    "former-pool-unavailable": (
        "it is the claim's former volume, and its pool {requested} is on no available node; start the node or mount "
        "the disk"
    ),
    "former-namespace": (
        "a claim of this name had it ({actual}) in an earlier namespace of this name, or in one that was not "
        "recorded; it may be another tenant's, so an admin decides: `mooring adopt {requested}` assigns it to the "
        "claim"
    ),
    "former-namespace-object": (
        "a claim of this name had it ({actual}) in an earlier namespace of this name, and it has no PersistentVolume "
        "now; it may be another tenant's, so an admin decides: `mooring recover --volume {requested}` assigns it to "
        "the claim"
    ),
    "fresh-namespace": (
        "the namespace was deleted and recreated, and class {requested} has onNamespaceRecreated: Fresh; the volume "
        "that a claim of this name had before is not changed ({actual})"
    ),
    "former-several": (
        "it is one of several former volumes ({actual}), and it is unknown which was last; choose one with `mooring "
        "adopt`"
    ),
    "former-forgotten": (
        "the claim has the annotation mooring.dev/forget, and this former volume would have to be expanded or "
        "modified before it is bound; remove the annotation from claim {requested}, and run this command again"
    ),
    "former-sibling": (
        "it is the claim's former volume and is adopted together with that of claim {requested} of the same pod, "
        "which waits: {actual}"
    ),
    "former-sibling-missing": (
        "it is the claim's former volume and is adopted together with that of claim {requested} of the same pod, "
        "which does not exist yet; its StatefulSet creates it with the pod of that ordinal"
    ),
    "former-sibling-deleting": (
        "it is the claim's former volume and is adopted together with that of claim {requested} of the same pod, "
        "which is still being deleted"
    ),
    "former-sibling-expanding": (
        "it is the claim's former volume and is adopted together with {actual} of claim {requested} of the same pod, "
        "which is expanded first"
    ),
    "former-on-different-nodes": (
        "it is the claim's former volume, and no node reaches both it and volume {actual} of claim {requested}, which "
        "the same pod needs; move their disks to one node"
    ),
    "bind-race-empty": (
        "it was provisioned for claim {requested}, which was bound to volume {actual} instead, and it was never "
        "bound; it is moved to the trash"
    ),
    "bind-race-unproven": (
        "it was provisioned for claim {requested}, which seems to have been bound to volume {actual} instead and does "
        "not exist any more; the volume is retained, and no claim gets it automatically; delete it when it is empty, "
        "or assign it to a claim with `mooring adopt`"
    ),
    "bind-race-former": (
        "it was about to be adopted by claim {requested}, which was bound to volume {actual} instead; it stays a "
        "former volume of that claim, with its data; `mooring history` shows which volume has which data"
    ),
    "foreign-driver": "its driver is {actual}, not Mooring",
    "in-use": "claim {actual} has it; delete that claim first",
    "unowned": "it belongs to no claim; there is nothing to release",
    "former-cluster": (
        "it has the data of claim {requested} of another cluster ({actual}), and is never adopted automatically; "
        "adopt it with `mooring recover --from-cluster {actual}`, or have an empty volume provisioned with `mooring "
        "forget`"
    ),
    "import-class-never-adopts": (
        "StorageClass {requested} has adopt: Never, so a claim that is created later would not adopt it; create the "
        "claim first, or name another class"
    ),
    "import-claim-bound": "claim {requested} already has volume {actual}; release that first, with `mooring release`",
    "import-no-class": "claim {requested} does not exist yet, so its class must be named with --class",
    "erase-volume": (
        "PersistentVolume {actual} represents it; set its policy to Delete, and delete its claim, or the "
        "PersistentVolume if it has no claim"
    ),
    "erase-copied": "two nodes have its pool {actual}: one disk is a copy of the other; remove one of them",
    "erase-cluster": (
        "another cluster ({actual}) recorded it, and may have a PersistentVolume for it; if that cluster does not "
        "exist any more, add --from-cluster {actual}"
    ),
    "erase-lost": (
        "claim {requested} names it, and its PersistentVolume does not exist any more; `mooring recover --volume` "
        "recreates that, or delete the claim first"
    ),
    "erase-claim": (
        "claim {requested} waits and may get it; delete the claim first, or have a new volume provisioned for it with "
        "`mooring forget`"
    ),
    "erase-mounted": "its node uses it at {actual}; stop what uses it there first",
    "recover-exists": "it has its PersistentVolume",
    "recover-unfinished": "its creation was interrupted, and it was never bound",
    "recover-no-owner": "no owner is recorded for it; `mooring import` assigns it to a claim",
    "recover-copied": "two nodes have its pool {actual}: one disk is a copy of the other; remove one of them",
    "recover-name": "another PersistentVolume has its name; delete or rename that one",
    "recover-modes": "its access modes were never recorded; `mooring import` assigns it to a claim",
    "recover-class": "StorageClass {requested} does not exist; create it, and run this command again",
    "recover-namespace": "namespace {requested} does not exist; create it, and run this command again",
    "recover-trash": "it was deleted, and is in the trash until it is purged; --volume restores it",
    "recover-several": "claim {requested} also has {actual}; choose one with --volume",
    "recover-recreated-namespace": (
        "its owner was in a namespace {requested} that was deleted and recreated, and may be another tenant; --volume "
        "confirms that it is not"
    ),
    "recover-several-namespaces": (
        "there were several namespaces {requested}, one after the other (UIDs {actual}), and it is unknown which was "
        "last; choose volumes of one of them with --volume"
    ),
}
"""Reason code → message. A code is stable; its message may be improved."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A stable code, the volume it is about ("" for the claim itself), the requested and the actual value."""

    code: str
    volume: str = ""
    requested: str = ""
    actual: str = ""

    @property
    def message(self) -> str:
        """The reason as text, with the next step where there is one."""
        text = MESSAGES[self.code].format(
            requested=self.requested or "none", actual=self.actual or "none", volume=self.volume
        )
        return f"volume {self.volume}: {text}" if self.volume else text


@dataclass(frozen=True, slots=True)
class Decision:
    """
    An action and its reasons.

    :ivar volume: name of a PersistentVolume
    :ivar handle: volume handle, where there is no PersistentVolume yet
    :ivar node: where a new volume is provisioned; "" for one of the `candidates`
    :ivar candidates: names of nodes; None means all
    :ivar modifies: the former volume gets the requested VolumeAttributesClass before it is adopted
    """

    action: Action
    reasons: tuple[Reason, ...] = ()
    volume: str = ""
    handle: str = ""
    node: str = ""
    candidates: frozenset[str] | None = None
    modifies: bool = False

    @property
    def message(self) -> str:
        """All reasons as one line of text."""
        return "; ".join(reason.message for reason in self.reasons)


def wait(code: str, *, volume: str = "", requested: str = "", actual: str = "") -> Decision:
    """Return the decision to wait for one reason."""
    return Decision(Action.WAIT, (Reason(code, volume, requested, actual),))
