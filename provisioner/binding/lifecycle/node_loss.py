"""
Decide what to do with a volume whose node is lost: its claim waits, unless its class has `onNodeLoss: Release`.

A volume follows its pool, and the labels of Nodes show which one has the pool. A volume is lost only when no Node has
the pool and the Node that had it last was deleted. While that Node exists nothing is lost, even if it is not ready or
its disk is missing.
"""

import enum
from dataclasses import dataclass

from provisioner.model.claim import Claim
from provisioner.model.names import LAST_NODE, LOST_SINCE, RELEASED
from provisioner.model.node import Node
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume

RECHECK_SECONDS = 5.0
"""The interval at which a driver is checked that still reports the pool after its Node was deleted."""


class Step(enum.Enum):
    """The next step for one volume."""

    NOTHING = "nothing"
    NOTE_NODE = "note node"
    """Record which Node has the pool."""
    NOTE_LOSS = "note loss"
    """Record that the volume is lost from now on."""
    NOTE_RETURN = "note return"
    """It is not lost any more, or its class does not release claims any more: remove the record of the loss."""
    WAIT = "wait"
    """It is lost, and its node may still return."""
    DELETE_CLAIM = "delete claim"
    """Delete its claim; the StatefulSet recreates it."""
    LEAVE = "leave"
    """Deleting the claim would not let the pod start; leave the decision to its owner."""
    DELETE_POD = "delete pod"
    """Its claim was deleted, and its StatefulSet has not recreated it yet: delete the pod that waits for it."""
    RELEASE = "release"
    """A new claim waits for it, or it would be deleted: release it, so that it is no former volume any more."""


@dataclass(frozen=True, slots=True)
class Loss:
    """
    A volume and the nodes that may have its pool, observed at one moment.

    :ivar claim: the claim of the volume's claimRef, by UID; None when it was deleted
    :ivar successor: whether another claim of its name exists
    :ivar recreated: whether it is an ordinal that a StatefulSet has now; other claims are not deleted, and find their
        volume if the node returns
    :ivar blocked_by: another claim of that ordinal that waits for an unavailable volume, without which the pod would
        not start
    :ivar reported: whether a driver reports the pool, even as a copy that is not used
    :ivar seconds: since the loss was recorded; None when it was not
    """

    volume: Volume
    storage_class: StorageClass | None
    nodes: tuple[Node, ...] = ()
    claim: Claim | None = None
    successor: bool = False
    recreated: bool = False
    blocked_by: str = ""
    reported: bool = False
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The next step; `seconds` until the one after it, or the `node` to record."""

    step: Step
    seconds: float = 0.0
    node: str = ""


def next_step(seen: Loss, *, grace: float) -> Outcome:
    """Decide the next step for the volume; a Node may be missing for `grace` seconds before it is lost."""
    volume = seen.volume
    if volume.deleting or RELEASED in volume.annotations:
        return Outcome(Step.NOTHING)
    recorded = LOST_SINCE in volume.annotations
    if seen.storage_class is None or not seen.storage_class.releases_on_node_loss or not volume.pool_uuid:
        return Outcome(_end_loss(seen) if recorded else Step.NOTHING)
    with_pool = [node for node in seen.nodes if node.has_pool(volume.pool_uuid)]
    if recorded and (with_pool or seen.reported or not _is_gone(volume, seen.nodes)):
        return Outcome(_end_loss(seen))
    if len(with_pool) == 1 and volume.annotations.get(LAST_NODE) != note_of(with_pool[0]):
        return Outcome(Step.NOTE_NODE, node=note_of(with_pool[0]))
    if with_pool or not _is_gone(volume, seen.nodes):
        return Outcome(Step.NOTHING)
    if seen.reported:
        return Outcome(Step.WAIT, seconds=RECHECK_SECONDS)
    if not recorded and seen.claim is None and volume.reclaim_policy == "Delete":
        return Outcome(Step.NOTHING)  # its owner deleted the claim before the volume was lost
    if seen.seconds is None:
        return Outcome(Step.NOTE_LOSS)
    if seen.seconds < grace:
        return Outcome(Step.WAIT, seconds=grace - seen.seconds)
    return Outcome(_release_claim(seen))


def _is_gone(volume: Volume, nodes: tuple[Node, ...]) -> bool:
    """
    Report whether the Node that had the pool last does not exist any more.

    It counts as existing while a Node of its name has no pool: that may be the same machine, which registered again and
    has not mounted its disk yet. A Node of that name that has a pool is another machine.
    """
    name, _, uid = volume.annotations.get(LAST_NODE, "").partition("/")
    return bool(uid) and not any(node.uid == uid or (node.name == name and not node.pools) for node in nodes)


def _end_loss(seen: Loss) -> Step:
    """
    Return the step that ends the recorded loss, which protects a volume with policy Delete from being deleted.

    It is unknown whether a claim that was deleted meanwhile was deleted by the controller or by its owner, so the
    volume is released, and thereby retained.
    """
    ref = seen.volume.claim_ref
    if seen.volume.reclaim_policy != "Delete" or ref is None or not ref.uid:
        return Step.NOTE_RETURN
    if seen.claim is None:
        return Step.RELEASE
    return Step.NOTHING if seen.claim.deleting else Step.NOTE_RETURN


def _release_claim(seen: Loss) -> Step:
    if seen.volume.claim_ref is None or not seen.volume.claim_ref.uid:
        return Step.NOTHING
    if seen.claim is None:
        return Step.RELEASE if seen.successor else Step.DELETE_POD if seen.recreated else Step.NOTHING
    if seen.claim.deleting or seen.claim.volume_name != seen.volume.name:
        # A claim that was bound to another volume meanwhile did not lose its volume, and is not deleted.
        return Step.NOTHING
    return Step.DELETE_CLAIM if seen.recreated and not seen.blocked_by else Step.LEAVE


def note_of(node: Node) -> str:
    """Return the annotation for a Node; names and UIDs contain no slash."""
    return f"{node.name}/{node.uid}"


def last_node(volume: Volume) -> str:
    """Return the name of the Node that had the volume's pool last."""
    return volume.annotations.get(LAST_NODE, "").partition("/")[0]
