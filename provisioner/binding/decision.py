"""What a decision is: an action and its reasons, as data that Events, the command line and tests share."""

import enum
from dataclasses import dataclass
from typing import Final


class Action(enum.Enum):
    """What shall happen to a claim."""

    DONE = "done"
    """It is bound; nothing is to be done."""
    BIND = "bind"
    """The volume named in the decision is its own already, or fits best."""
    ADOPT = "adopt"
    """Its former volume comes back: point that volume's claimRef at it."""
    EXPAND = "expand"
    """Its former volume is smaller than what it asks for: let it grow, then it comes back."""
    REBUILD = "rebuild"
    """Its former volume lives in a pool without a PersistentVolume: write that anew."""
    UNDELETE = "undelete"
    """Its former volume lies in the trash: take it out, then rebuild."""
    TAKE_BACK = "take back"
    """Its former volume was given to it, and its siblings cannot have theirs: undo that, as long as it is not bound."""
    PROVISION = "provision"
    """Make a new volume."""
    WAIT = "wait"
    """Nothing yet; the reasons say why and what to do."""
    NOT_OURS = "not ours"
    """Somebody else's provisioner or binder decides."""


MESSAGES: Final[dict[str, str]] = {
    "taken-by-sibling": "another claim of the same pod takes it",
    "other-claim": "it belongs to claim {actual}",
    "former-claim": "it belongs to an earlier claim of the same name (UID {actual})",
    "capacity": "it has {actual}, less than the {requested} asked for",
    "volume-mode": "its volumeMode is {actual}, not {requested}",
    "attributes-class": "its VolumeAttributesClass is {actual}, not {requested}",
    "deleting": "it is being deleted",
    "waits-for-consumer": "its class waits for a pod; the scheduler picks it then",
    "phase": "its phase is {actual}, not {requested}",
    "selector": "its labels do not match the claim's selector ({requested})",
    "class": "its class is {actual}, not {requested}",
    "affinity": "node {requested} cannot reach it",
    "access-modes": "its access modes are {actual}; {requested} is asked for",
    "volume-unknown": (
        "volume {requested}, which the claim names, does not exist; create it, or make the claim without it"
    ),
    "bound": "it is bound to volume {actual}",
    "lost": "it was bound to volume {requested}, which {actual}; the binder calls that Lost",
    "no-class": "it names no StorageClass, none is default, and no volume without a class fits; name a class",
    "class-unknown": "StorageClass {requested} does not exist; create it, or make the claim with another",
    "class-foreign": "StorageClass {requested} is served by {actual}, not by Mooring",
    "class-static": "StorageClass {requested} has no provisioner; a volume that fits must be made by hand",
    "class-parameters": "StorageClass {requested} cannot be used: {actual}",
    "class-adopt-delete": (
        "StorageClass {requested} says adopt: {actual} and reclaimPolicy: Delete, which contradict each other; use "
        "Retain, or adopt: Never"
    ),
    "selector-set": "it has a selector, and a new volume cannot be made to match one; remove the selector",
    "source-unsupported": (
        "its data source is {requested}, and Mooring does not restore snapshots or clone claims yet; it waits, and no "
        "empty volume is created for it; create the claim without a data source to have one"
    ),
    "source-namespace": (
        "its data source {requested} is in another namespace (dataSourceRef.namespace), which is not supported; "
        "create the claim with a source of its own namespace"
    ),
    "source-populator": (
        "its data source is {requested}; Mooring creates nothing and expects that an external populator provisions "
        "the volume; install the populator of that kind if there is none"
    ),
    "first-consumer": "its class waits for the first pod that uses it, and no pod does; create the pod",
    "unscheduled": "its class waits until pod {actual} is scheduled to a node",
    "node-name": "pod {actual} sets spec.nodeName, which goes around the scheduler; use nodeSelector instead",
    "node-unknown": "it was placed on node {requested}, which does not exist (any more)",
    "class-topology": (
        "it was placed on node {requested}, which the allowedTopologies of StorageClass {actual} leave out"
    ),
    "sibling-elsewhere": (
        "its pod was placed on node {requested}, which cannot reach volume {actual}, another of the same pod; the "
        "scheduler is asked for another node"
    ),
    "sibling-unavailable": (
        "its pod needs volume {actual}, too, and no node has that now; bring back its node or mount its disk"
    ),
    "sibling-waits": "its pod needs claim {requested}, too, and that waits: {actual}",
    "after-sibling": "claim {requested} of the same pod gets its volume first, so that both are on one node",
    "pool-full": (
        "no pool has {requested} left (most room: {actual}); `mooring pools` and `mooring volumes` show what has it: "
        "delete volumes, erase those without a PersistentVolume, or add a pool"
    ),
    "pool-unknown": "no node that can be chosen has a pool named {requested}; create it, or name one of: {actual}",
    "pool-none": "no node that can be chosen has a pool; create one with `mooring pool init`, or start its driver",
    "pool-unusable": "no pool can be used now: {actual}",
    "pool-backend": "no pool can serve backend {requested}; those that can be chosen serve: {actual}",
    "class-modes": (
        "it asks for access mode {requested}, and a volume on one node's disk can only have {actual}; create the "
        "claim with one of those"
    ),
    "class-block": (
        "it asks for a raw block volume, and backend {actual} of StorageClass {requested} has none; use a class whose "
        "backend is loop"
    ),
    "class-no-node": (
        "no node is in the allowedTopologies of StorageClass {requested} ({actual}); label a node so, or create the "
        "claim with another class"
    ),
    "creation-refused": (
        "creating its volume was refused at {requested}: {actual}; it is tried again by itself, and at once when the "
        "claim or its class changes"
    ),
    "creation-blocked": "{actual} (since {requested})",
    "provisioning": "a volume is being made for it",
    "driver-unavailable": "the driver of node {requested} does not answer: {actual}",
    "expanding": "it grows from {actual} to {requested}",
    "expand-failed": "it has not grown to {requested} yet, and that is tried again: {actual}",
    "expand-refused": "it cannot grow to {requested}: {actual}; ask for less, or make room, and it is tried again",
    "node-expand-pending": (
        "its volume has grown to {requested}, and its filesystem has {actual} until the node lets it grow, as it does "
        "when a pod uses it"
    ),
    "node-expand-refused": "its volume has grown to {requested}, but its filesystem cannot on its node: {actual}",
    "expand-not-allowed": (
        "it asks for more than it has, and StorageClass {actual} does not say allowVolumeExpansion: true"
    ),
    "modifying": "it gets the attributes of VolumeAttributesClass {requested} instead of {actual}",
    "modify-failed": (
        "it does not have the attributes of VolumeAttributesClass {requested} yet; it is tried again: {actual}"
    ),
    "modify-refused": (
        "it cannot have the attributes of VolumeAttributesClass {requested}: {actual}; ask for another, or the former "
        "one"
    ),
    "attributes-class-unknown": "VolumeAttributesClass {requested} does not exist; create it, or ask for another",
    "attributes-class-foreign": "VolumeAttributesClass {requested} is meant for driver {actual}; ask for another",
    "node-lost": (
        "the node {requested} that has it has been gone since {actual}; unless that or its disk comes back soon, the "
        "claim is let go, as its class says (onNodeLoss: Release), and the volume is kept"
    ),
    "former-ordinal": (
        "it held the data of ordinal {actual}, and the claim is no ordinal of an existing StatefulSet; create the "
        "StatefulSet {requested}"
    ),
    "former-other-ordinal": (
        "it was held under this name, but for pod {actual}, and the claim is that of pod {requested}; if the data "
        "belongs to it all the same, say so with `mooring adopt`"
    ),
    "former-deleting": "it is its former volume and is being deleted; it waits until that is over",
    "former-policy": "it is its former volume, and its policy is {actual}; set it to Retain to keep it",
    "former-too-small": (
        "it is its former volume and has {actual}, less than the {requested} asked for, and its class lets nothing "
        "grow; ask for {actual}, or set allowVolumeExpansion: true on the class"
    ),
    "former-expanding": (
        "it is its former volume and has {actual}; it comes back as soon as it has grown to {requested}"
    ),
    "former-modes": "it is its former volume, and its access modes are {actual}; ask for them instead of {requested}",
    "former-volume-mode": (
        "it is its former volume, and its volumeMode is {actual}; ask for that instead of {requested}"
    ),
    "former-selector": "it is its former volume, and its labels do not match the claim's selector ({requested})",
    "former-class": (
        "it is its former volume, and its class is {actual}, not {requested}; make the claim with class {actual}"
    ),
    "former-attributes-class": (
        "it is its former volume, and it has VolumeAttributesClass {actual}, which Kubernetes takes off no volume, "
        "while the claim asks for none; make the claim with volumeAttributesClassName: {actual}, or with another "
        "class"
    ),
    "former-backend": (
        "it is its former volume, and its backend is {actual}; make the claim with a class of backend {actual} "
        "instead of {requested}"
    ),
    "former-not-preferred": (
        "it is its former volume, and the binder would take volume {actual} instead, which has fewer access modes; "
        "ask for {requested}"
    ),
    "former-pool-unavailable": (
        "it is its former volume, and no node has its pool {requested} now; bring back the node or mount the disk"
    ),
    "former-namespace": (
        "a claim of this name had it ({actual}) in an earlier namespace of this name, or in one that was not "
        "recorded; it may be another tenant's, so an admin decides: `mooring adopt {requested}` gives it to the claim"
    ),
    "former-namespace-object": (
        "a claim of this name had it ({actual}) in an earlier namespace of this name, and it has no PersistentVolume "
        "now; it may be another tenant's, so an admin decides: `mooring recover --volume {requested}` gives it to the "
        "claim"
    ),
    "fresh-namespace": (
        "the namespace was deleted and recreated, and the class {requested} says onNamespaceRecreated: Fresh; the "
        "volume that a claim of this name had before is left as it is ({actual})"
    ),
    "former-several": (
        "it is one of several former volumes ({actual}), and which was last cannot be told; choose one with `mooring "
        "adopt`"
    ),
    "former-forgotten": (
        "the claim was told to forget its former volumes, and this one would have to be expanded or modified before "
        "it can be bound; remove the annotation mooring.dev/forget from claim {requested}, and run this again"
    ),
    "former-sibling": (
        "it is its former volume, and comes back together with that of claim {requested} of the same pod, which "
        "waits: {actual}"
    ),
    "former-sibling-missing": (
        "it is its former volume, and comes back together with that of claim {requested} of the same pod, which does "
        "not exist yet; its StatefulSet makes that when it has the pod's ordinal"
    ),
    "former-sibling-deleting": (
        "it is its former volume, and comes back together with that of claim {requested} of the same pod, which is "
        "still being deleted"
    ),
    "former-sibling-expanding": (
        "it is its former volume, and comes back together with {actual} of claim {requested} of the same pod, which "
        "grows first"
    ),
    "former-on-different-nodes": (
        "it is its former volume, and no node reaches both it and volume {actual} of claim {requested}, which the "
        "same pod needs; bring their disks to one node"
    ),
    "bind-race-empty": (
        "it was made for claim {requested}, which got volume {actual} instead, and nobody ever had it; it goes to the "
        "trash"
    ),
    "bind-race-unproven": (
        "it was made for claim {requested}, which seems to have got volume {actual} instead and is gone; it is kept, "
        "and no claim gets it by itself; delete it when it is empty, or give it to a claim with `mooring adopt`"
    ),
    "bind-race-former": (
        "it was about to go back to claim {requested}, which got volume {actual} instead; it stays a former volume of "
        "that claim, with its data; `mooring history` tells which data is in which"
    ),
    "foreign-driver": "its driver is {actual}, not Mooring",
    "in-use": "claim {actual} has it; delete that first",
    "unowned": "it belongs to no claim; there is nothing to let go",
    "former-cluster": (
        "it has the data of claim {requested} of another cluster ({actual}), and is never taken over without being "
        "told; tell it with `mooring recover --from-cluster {actual}`, or have an empty volume made with `mooring "
        "forget`"
    ),
    "import-class-never-adopts": (
        "StorageClass {requested} gives no volume to a claim that comes later (adopt: Never); make the claim first, "
        "or name another class"
    ),
    "import-claim-bound": "claim {requested} has volume {actual} already; let go of that first, with `mooring release`",
    "import-no-class": "claim {requested} does not exist yet, so that its class has to be said, with --class",
    "erase-volume": (
        "PersistentVolume {actual} stands for it; set its policy to Delete, and delete its claim, or, when there is "
        "none, the PersistentVolume"
    ),
    "erase-copied": "two nodes have its pool {actual}: one disk is a copy of the other; take one away",
    "erase-cluster": (
        "another cluster ({actual}) recorded it, and may have a PersistentVolume for it; if that cluster is gone, say "
        "so with --from-cluster {actual}"
    ),
    "erase-lost": (
        "claim {requested} names it, and its PersistentVolume is gone; `mooring recover --volume` restores that, or "
        "delete the claim first"
    ),
    "erase-claim": (
        "claim {requested} waits and may get it; delete the claim first, or give it a new volume with `mooring forget`"
    ),
    "erase-mounted": "its node uses it at {actual}; end what uses it there first",
    "recover-exists": "it has its object",
    "recover-unfinished": "its making was cut off, and nobody ever had it",
    "recover-no-owner": "nobody is known to have had it; `mooring import` gives it to a claim",
    "recover-copied": "two nodes have its pool {actual}: one disk is a copy of the other; take one away",
    "recover-name": "another PersistentVolume has its name; delete or rename that",
    "recover-modes": "its access modes were never written down; `mooring import` gives it to a claim",
    "recover-class": "StorageClass {requested} does not exist; create it, and run this again",
    "recover-namespace": "namespace {requested} does not exist; create it, and run this again",
    "recover-trash": "it was deleted, and lies in the trash until it is purged; --volume takes it out",
    "recover-several": "claim {requested} has {actual}, too; choose one with --volume",
    "recover-recreated-namespace": (
        "it was held in a namespace {requested} that was deleted and made anew, and may be a stranger's; --volume "
        "says that it is not"
    ),
    "recover-several-namespaces": (
        "there were several namespaces {requested}, one after the other (UIDs {actual}), and the last cannot be told; "
        "choose volumes of one of them with --volume"
    ),
}
"""Reason code → sentence. A code is stable; its sentence may get better."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not: a stable code, the volume it is about ("" for the claim itself), what was wanted and what there is."""

    code: str
    volume: str = ""
    requested: str = ""
    actual: str = ""

    @property
    def message(self) -> str:
        """The reason for people, with the next step where there is one."""
        text = MESSAGES[self.code].format(
            requested=self.requested or "none", actual=self.actual or "none", volume=self.volume
        )
        return f"volume {self.volume}: {text}" if self.volume else text


@dataclass(frozen=True, slots=True)
class Decision:
    """
    An action and why. `volume` is a volume's name, `handle` a volume handle where there is no such object yet.

    A new volume is made on `node`, or with "" on one of the nodes that are `candidates`, where None means all.
    `modifies`: a former volume is given the attributes that the claim asks for before it comes back.
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
        """All reasons in one line."""
        return "; ".join(reason.message for reason in self.reasons)


def wait(code: str, *, volume: str = "", requested: str = "", actual: str = "") -> Decision:
    """Nothing is done, for one reason."""
    return Decision(Action.WAIT, (Reason(code, volume, requested, actual),))
