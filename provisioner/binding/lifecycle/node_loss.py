"""
What becomes of a volume whose node is gone: its claim waits, unless its class says `onNodeLoss: Release`.

A volume follows its pool, and a Node's label says who has that. So a volume is lost only when nobody has the pool, and
the Node that had it last is no more. A Node that is there loses nothing: be it not ready, or without its disk.
"""

import enum
from dataclasses import dataclass

from provisioner.model.claim import Claim
from provisioner.model.names import LAST_NODE, LOST_SINCE, RELEASED
from provisioner.model.node import Node
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume

AGAIN_SECONDS = 5.0
"""Until a driver is asked about again, whose Node is gone, and which still says that it has the pool."""


class Step(enum.Enum):
    """What to do next about one volume."""

    NOTHING = "nothing"
    NOTE_NODE = "note node"
    """Write down which Node has the pool."""
    NOTE_LOSS = "note loss"
    """Write down that the volume is lost from now on."""
    NOTE_RETURN = "note return"
    """It is not lost any longer, or its class does not let go any longer: take the note of the loss away."""
    WAIT = "wait"
    """It is lost, and its node may still come back."""
    LET_GO = "let go"
    """Delete its claim; the StatefulSet makes it anew."""
    LEAVE = "leave"
    """Letting it go would help nobody: whether it is deleted is for its owner to say."""
    PROMPT = "prompt"
    """Its claim is gone, and its StatefulSet did not make it anew yet: delete the pod that waits for it."""
    RELEASE = "release"
    """A new claim waits for it, or it would be deleted: mark it as kept, and nobody's former volume any longer."""


@dataclass(frozen=True, slots=True)
class Loss:
    """
    A volume and who could have its pool, observed at one moment.

    `claim` is the one that the volume's claimRef names, by UID, and None when that is gone; `successor` tells whether
    another of its name is there. `made_anew` tells whether it is an ordinal that a StatefulSet wants now: what nobody
    wants is not let go, and finds its volume should the node return first. `held_by` is another claim of that ordinal
    that waits for a volume which nobody has either, its own or its former one: the pod would not start without it.
    `reported` is True when some driver says it has the pool, be it a copy that is used nowhere. `seconds` have passed
    since the loss was noted; None when it was not.
    """

    volume: Volume
    storage_class: StorageClass | None
    nodes: tuple[Node, ...] = ()
    claim: Claim | None = None
    successor: bool = False
    made_anew: bool = False
    held_by: str = ""
    reported: bool = False
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The next step; `seconds` to wait until the one after, or the `node` to note."""

    step: Step
    seconds: float = 0.0
    node: str = ""


def fate(seen: Loss, *, grace: float) -> Outcome:
    """What to do about the volume, where a Node may be gone for `grace` seconds before that counts."""
    volume = seen.volume
    if volume.deleting or RELEASED in volume.annotations:
        return Outcome(Step.NOTHING)
    noted = LOST_SINCE in volume.annotations
    if seen.storage_class is None or not seen.storage_class.releases_on_node_loss or not volume.pool_uuid:
        return Outcome(_end_loss(seen) if noted else Step.NOTHING)
    having = [node for node in seen.nodes if node.has_pool(volume.pool_uuid)]
    if noted and (having or seen.reported or not _is_gone(volume, seen.nodes)):
        return Outcome(_end_loss(seen))
    if len(having) == 1 and volume.annotations.get(LAST_NODE) != note_of(having[0]):
        return Outcome(Step.NOTE_NODE, node=note_of(having[0]))
    if having or not _is_gone(volume, seen.nodes):
        return Outcome(Step.NOTHING)
    if seen.reported:
        return Outcome(Step.WAIT, seconds=AGAIN_SECONDS)
    if not noted and seen.claim is None and volume.reclaim_policy == "Delete":
        return Outcome(Step.NOTHING)  # its owner deleted the claim before anything was lost
    if seen.seconds is None:
        return Outcome(Step.NOTE_LOSS)
    if seen.seconds < grace:
        return Outcome(Step.WAIT, seconds=grace - seen.seconds)
    return Outcome(_let_go(seen))


def _is_gone(volume: Volume, nodes: tuple[Node, ...]) -> bool:
    """
    Whether the Node that had the pool last is no more.

    Not while another of its name is there without any pool: that may be the same machine, which registered anew and
    has not mounted its disk. With a pool of its own it is another machine.
    """
    name, _, uid = volume.annotations.get(LAST_NODE, "").partition("/")
    return bool(uid) and not any(node.uid == uid or (node.name == name and not node.pools) for node in nodes)


def _end_loss(seen: Loss) -> Step:
    """
    The note of the loss keeps a volume whose policy is Delete from being deleted.

    Whether a claim that went meanwhile was let go, or deleted by its owner, nobody can tell: such a volume stays kept.
    """
    ref = seen.volume.claim_ref
    if seen.volume.reclaim_policy != "Delete" or ref is None or not ref.uid:
        return Step.NOTE_RETURN
    if seen.claim is None:
        return Step.RELEASE
    return Step.NOTHING if seen.claim.deleting else Step.NOTE_RETURN


def _let_go(seen: Loss) -> Step:
    if seen.volume.claim_ref is None or not seen.volume.claim_ref.uid:
        return Step.NOTHING
    if seen.claim is None:
        return Step.RELEASE if seen.successor else Step.PROMPT if seen.made_anew else Step.NOTHING
    if seen.claim.deleting or seen.claim.volume_name != seen.volume.name:
        return Step.NOTHING  # bound to another one while this was made, it has lost nothing: that one is not to go
    return Step.LET_GO if seen.made_anew and not seen.held_by else Step.LEAVE


def note_of(node: Node) -> str:
    """The Node as an annotation tells of it; no name and no UID has a slash in it."""
    return f"{node.name}/{node.uid}"


def last_node(volume: Volume) -> str:
    """Name of the Node that had the volume's pool last."""
    return volume.annotations.get(LAST_NODE, "").partition("/")[0]
