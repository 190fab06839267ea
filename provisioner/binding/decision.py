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


SENTENCES: Final[dict[str, str]] = {
    "excluded": "another claim of the same pod takes it",
    "other-claim": "it belongs to claim {had}",
    "former-claim": "it belongs to an earlier claim of the same name (UID {had})",
    "capacity": "it has {had}, less than the {wanted} asked for",
    "volume-mode": "its volumeMode is {had}, not {wanted}",
    "attributes-class": "its VolumeAttributesClass is {had}, not {wanted}",
    "deleting": "it is being deleted",
    "waits-for-consumer": "its class waits for a pod; the scheduler picks it then",
    "phase": "its phase is {had}, not {wanted}",
    "selector": "its labels do not match the claim's selector ({wanted})",
    "class": "its class is {had}, not {wanted}",
    "affinity": "node {wanted} cannot reach it",
    "access-modes": "its access modes are {had}; {wanted} is asked for",
    "volume-unknown": "volume {wanted}, which the claim names, does not exist; create it, or make the claim without it",
    "bound": "it is bound to volume {had}",
    "lost": "it was bound to volume {wanted}, which {had}; the binder calls that Lost",
    "no-class": "it names no StorageClass, none is default, and no volume without a class fits; name a class",
    "class-unknown": "StorageClass {wanted} does not exist; create it, or make the claim with another",
    "class-foreign": "StorageClass {wanted} is served by {had}, not by Mooring",
    "class-static": "StorageClass {wanted} has no provisioner; a volume that fits must be made by hand",
    "class-parameters": "StorageClass {wanted} cannot be used: {had}",
    "class-adopt-delete": (
        "StorageClass {wanted} says adopt: {had} and reclaimPolicy: Delete, which contradict each other; "
        "use Retain, or adopt: Never"
    ),
    "selector-set": "it has a selector, and a new volume cannot be made to match one; remove the selector",
    "source-unserved": (
        "its data source is {wanted}, and Mooring does not restore snapshots or clone claims yet; it waits, and no "
        "empty volume is created for it; create the claim without a data source to have one"
    ),
    "source-namespace": (
        "its data source {wanted} is in another namespace (dataSourceRef.namespace), which is not supported; create "
        "the claim with a source of its own namespace"
    ),
    "source-populator": (
        "its data source is {wanted}; Mooring creates nothing and expects that an external populator provisions the "
        "volume; install the populator of that kind if there is none"
    ),
    "first-consumer": "its class waits for the first pod that uses it, and no pod does; create the pod",
    "unscheduled": "its class waits until pod {had} is scheduled to a node",
    "node-name": "pod {had} sets spec.nodeName, which goes around the scheduler; use nodeSelector instead",
    "node-unknown": "it was placed on node {wanted}, which does not exist (any more)",
    "class-topology": "it was placed on node {wanted}, which the allowedTopologies of StorageClass {had} leave out",
    "sibling-elsewhere": (
        "its pod was placed on node {wanted}, which cannot reach volume {had}, another of the same pod; "
        "the scheduler is asked for another node"
    ),
    "sibling-away": (
        "its pod needs volume {had}, too, and no node has that now; bring back its node or mount its disk"
    ),
    "sibling-waits": "its pod needs claim {wanted}, too, and that waits: {had}",
    "after-sibling": "claim {wanted} of the same pod gets its volume first, so that both are on one node",
    "pool-full": (
        "no pool has {wanted} left (most room: {had}); `mooring pools` and `mooring volumes` show what has it: delete "
        "volumes, erase those without a PersistentVolume, or add a pool"
    ),
    "pool-unknown": "no node that can be chosen has a pool named {wanted}; create it, or name one of: {had}",
    "pool-none": "no node that can be chosen has a pool; create one with `mooring pool init`, or start its driver",
    "pool-unusable": "no pool can be used now: {had}",
    "pool-backend": "no pool can serve backend {wanted}; those that can be chosen serve: {had}",
    "class-modes": (
        "it asks for access mode {wanted}, and a volume on one node's disk can only have {had}; create the claim with "
        "one of those"
    ),
    "class-block": (
        "it asks for a raw block volume, and backend {had} of StorageClass {wanted} has none; use a class whose "
        "backend is loop"
    ),
    "class-nowhere": (
        "no node is in the allowedTopologies of StorageClass {wanted} ({had}); label a node so, or create the claim "
        "with another class"
    ),
    "refused": (
        "creating its volume was refused at {wanted}: {had}; it is tried again by itself, and at once when the claim "
        "or its class changes"
    ),
    "blocked": "{had} (since {wanted})",
    "provisioning": "a volume is being made for it",
    "driver-away": "the driver of node {wanted} does not answer: {had}",
    "growing": "it grows from {had} to {wanted}",
    "growth-failed": "it has not grown to {wanted} yet, and that is tried again: {had}",
    "growth-refused": "it cannot grow to {wanted}: {had}; ask for less, or make room, and it is tried again",
    "growth-node": (
        "its volume has grown to {wanted}, and its filesystem has {had} until the node lets it grow, as it does when a "
        "pod uses it"
    ),
    "growth-node-refused": "its volume has grown to {wanted}, but its filesystem cannot on its node: {had}",
    "growth-class": "it asks for more than it has, and StorageClass {had} does not say allowVolumeExpansion: true",
    "modifying": "it gets the attributes of VolumeAttributesClass {wanted} instead of {had}",
    "modify-failed": "it does not have the attributes of VolumeAttributesClass {wanted} yet; it is tried again: {had}",
    "modify-refused": (
        "it cannot have the attributes of VolumeAttributesClass {wanted}: {had}; ask for another, or the former one"
    ),
    "attributes-class-unknown": "VolumeAttributesClass {wanted} does not exist; create it, or ask for another",
    "attributes-class-foreign": "VolumeAttributesClass {wanted} is meant for driver {had}; ask for another",
    "node-lost": (
        "the node {wanted} that has it has been gone since {had}; unless that or its disk comes back soon, the claim "
        "is let go, as its class says (onNodeLoss: Release), and the volume is kept"
    ),
    "former-ordinal": (
        "it held the data of ordinal {had}, and the claim is no ordinal of an existing StatefulSet; "
        "create the StatefulSet {wanted}"
    ),
    "former-other-ordinal": (
        "it was held under this name, but for pod {had}, and the claim is that of pod {wanted}; if the data belongs to "
        "it all the same, say so with `mooring adopt`"
    ),
    "former-deleting": "it is its former volume and is being deleted; it waits until that is over",
    "former-policy": "it is its former volume, and its policy is {had}; set it to Retain to keep it",
    "former-small": (
        "it is its former volume and has {had}, less than the {wanted} asked for, and its class lets nothing grow; "
        "ask for {had}, or set allowVolumeExpansion: true on the class"
    ),
    "former-grows": "it is its former volume and has {had}; it comes back as soon as it has grown to {wanted}",
    "former-modes": "it is its former volume, and its access modes are {had}; ask for them instead of {wanted}",
    "former-volume-mode": "it is its former volume, and its volumeMode is {had}; ask for that instead of {wanted}",
    "former-selector": "it is its former volume, and its labels do not match the claim's selector ({wanted})",
    "former-class": "it is its former volume, and its class is {had}, not {wanted}; make the claim with class {had}",
    "former-attributes-class": (
        "it is its former volume, and it has VolumeAttributesClass {had}, which Kubernetes takes off no volume, while "
        "the claim asks for none; make the claim with volumeAttributesClassName: {had}, or with another class"
    ),
    "former-backend": (
        "it is its former volume, and its backend is {had}; make the claim with a class of backend {had} instead of "
        "{wanted}"
    ),
    "former-outbid": (
        "it is its former volume, and the binder would take volume {had} instead, which has fewer access modes; ask "
        "for {wanted}"
    ),
    "former-pool-away": (
        "it is its former volume, and no node has its pool {wanted} now; bring back the node or mount the disk"
    ),
    "former-namespace": (
        "a claim of this name had it ({had}) in an earlier namespace of this name, or in one that was not recorded; it "
        "may be another tenant's, so an admin decides: `mooring adopt {wanted}` gives it to the claim"
    ),
    "former-namespace-object": (
        "a claim of this name had it ({had}) in an earlier namespace of this name, and it has no PersistentVolume now; "
        "it may be another tenant's, so an admin decides: `mooring recover --volume {wanted}` gives it to the claim"
    ),
    "fresh-namespace": (
        "the namespace was deleted and recreated, and the class {wanted} says onNamespaceRecreated: Fresh; the volume "
        "that a claim of this name had before is left as it is ({had})"
    ),
    "former-several": (
        "it is one of several former volumes ({had}), and which was last cannot be told; choose one with "
        "`mooring adopt`"
    ),
    "former-forgotten": (
        "the claim was told to forget its former volumes, and this one would have to be expanded or modified before it "
        "can be bound; remove the annotation mooring.dev/forget from claim {wanted}, and run this again"
    ),
    "former-sibling": (
        "it is its former volume, and comes back together with that of claim {wanted} of the same pod, which waits: "
        "{had}"
    ),
    "former-sibling-missing": (
        "it is its former volume, and comes back together with that of claim {wanted} of the same pod, which does not "
        "exist yet; its StatefulSet makes that when it has the pod's ordinal"
    ),
    "former-sibling-deleting": (
        "it is its former volume, and comes back together with that of claim {wanted} of the same pod, which is still "
        "being deleted"
    ),
    "former-sibling-grows": (
        "it is its former volume, and comes back together with {had} of claim {wanted} of the same pod, which grows "
        "first"
    ),
    "former-apart": (
        "it is its former volume, and no node reaches both it and volume {had} of claim {wanted}, which the same pod "
        "needs; bring their disks to one node"
    ),
    "leftover-empty": (
        "it was made for claim {wanted}, which got volume {had} instead, and nobody ever had it; it goes to the trash"
    ),
    "leftover-unproven": (
        "it was made for claim {wanted}, which seems to have got volume {had} instead and is gone; it is kept, and no "
        "claim gets it by itself; delete it when it is empty, or give it to a claim with `mooring adopt`"
    ),
    "leftover-former": (
        "it was about to go back to claim {wanted}, which got volume {had} instead; it stays a former volume of that "
        "claim, with its data; `mooring history` tells which data is in which"
    ),
    "not-ours": "its driver is {had}, not Mooring",
    "held": "claim {had} has it; delete that first",
    "free": "it belongs to no claim; there is nothing to let go",
    "former-cluster": (
        "it has the data of claim {wanted} of another cluster ({had}), and is never taken over without being told; "
        "tell it with `mooring recover --from-cluster {had}`, or have an empty volume made with `mooring forget`"
    ),
    "import-never": (
        "StorageClass {wanted} gives no volume to a claim that comes later (adopt: Never); make the claim first, or "
        "name another class"
    ),
    "import-has": "claim {wanted} has volume {had} already; let go of that first, with `mooring release`",
    "import-no-class": "claim {wanted} does not exist yet, so that its class has to be said, with --class",
    "erase-volume": (
        "PersistentVolume {had} stands for it; set its policy to Delete, and delete its claim, or, when there is none, "
        "the PersistentVolume"
    ),
    "erase-copied": "two nodes have its pool {had}: one disk is a copy of the other; take one away",
    "erase-cluster": (
        "another cluster ({had}) recorded it, and may have a PersistentVolume for it; if that cluster is gone, say so "
        "with --from-cluster {had}"
    ),
    "erase-lost": (
        "claim {wanted} names it, and its PersistentVolume is gone; `mooring recover --volume` restores that, "
        "or delete the claim first"
    ),
    "erase-claim": (
        "claim {wanted} waits and may get it; delete the claim first, or give it a new volume with `mooring forget`"
    ),
    "erase-mounted": "its node uses it at {had}; end what uses it there first",
    "recover-there": "it has its object",
    "recover-unfinished": "its making was cut off, and nobody ever had it",
    "recover-nobody": "nobody is known to have had it; `mooring import` gives it to a claim",
    "recover-copied": "two nodes have its pool {had}: one disk is a copy of the other; take one away",
    "recover-name": "another PersistentVolume has its name; delete or rename that",
    "recover-modes": "its access modes were never written down; `mooring import` gives it to a claim",
    "recover-class": "StorageClass {wanted} does not exist; create it, and run this again",
    "recover-namespace": "namespace {wanted} does not exist; create it, and run this again",
    "recover-trash": "it was deleted, and lies in the trash until it is purged; --volume takes it out",
    "recover-several": "claim {wanted} has {had}, too; choose one with --volume",
    "recover-stranger": (
        "it was held in a namespace {wanted} that was deleted and made anew, and may be a stranger's; "
        "--volume says that it is not"
    ),
    "recover-namespaces": (
        "there were several namespaces {wanted}, one after the other (UIDs {had}), and the last cannot be told; choose "
        "volumes of one of them with --volume"
    ),
}
"""Reason code → sentence. A code is stable; its sentence may get better."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not: a stable code, the volume it is about ("" for the claim itself), what was wanted and what there is."""

    code: str
    volume: str = ""
    wanted: str = ""
    had: str = ""

    @property
    def sentence(self) -> str:
        """The reason for people, with the next step where there is one."""
        text = SENTENCES[self.code].format(wanted=self.wanted or "none", had=self.had or "none", volume=self.volume)
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
    def sentence(self) -> str:
        """All reasons in one line."""
        return "; ".join(reason.sentence for reason in self.reasons)


def wait(code: str, *, volume: str = "", wanted: str = "", had: str = "") -> Decision:
    """Nothing is done, for one reason."""
    return Decision(Action.WAIT, (Reason(code, volume, wanted, had),))
