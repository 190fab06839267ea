"""Lost nodes: which claims wait, which are deleted, and which volumes are released."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.binding.lifecycle.node_loss import RECHECK_SECONDS, Loss, Outcome, Step, next_step
from provisioner.model.names import LAST_NODE, LOST_SINCE, RELEASED
from provisioner.model.node import Node
from provisioner.model.volume import Volume
from tests.sweeps import times
from tests.unit.provisioner.binding.objects import POOL, claim, node, storage_class, volume

GRACE = 300.0
RELEASES = storage_class(parameters={"onNodeLoss": "Release"})
WAITS = storage_class()
LAST_HAD = {LAST_NODE: "n1/n1"}
LOST = LAST_HAD | {LOST_SINCE: "2026-01-01T00:00:00Z"}
BOUND = claim(uid="old", volume="pv", bound=True, phase="Bound")


def _volume(*, policy: str = "Retain", **annotations: str) -> Volume:
    found = volume(ref=("www-web-0", "old"), phase="Bound", policy=policy)
    return dataclasses.replace(found, annotations={**found.annotations, **annotations})


def _node(name: str, *, uid: str = "", pool: str = "") -> Node:
    """Return a node, without a pool unless one is named."""
    found = node(name, pool=pool or "x")
    labels = {key: value for key, value in found.labels.items() if pool or not key.startswith("pool.")}
    return dataclasses.replace(found, uid=uid or name, labels=labels)


LONG_LOST = Loss(_volume(**LOST), RELEASES, claim=BOUND, recreated=True, seconds=GRACE)

STEPS: dict[str, tuple[Loss, Outcome]] = {
    # the observed situation: the next step
    "the class has onNodeLoss: Wait": (dataclasses.replace(LONG_LOST, storage_class=WAITS), Outcome(Step.NOTE_RETURN)),
    "the class does not exist": (dataclasses.replace(LONG_LOST, storage_class=None), Outcome(Step.NOTE_RETURN)),
    "nothing is recorded for a class that waits": (
        Loss(_volume(), WAITS, (_node("n1", pool=POOL),)),
        Outcome(Step.NOTHING),
    ),
    "its node has the pool": (
        Loss(_volume(), RELEASES, (_node("n1", pool=POOL),)),
        Outcome(Step.NOTE_NODE, node="n1/n1"),
    ),
    "its node is recorded": (Loss(_volume(**LAST_HAD), RELEASES, (_node("n1", pool=POOL),)), Outcome(Step.NOTHING)),
    "its disk moved": (
        Loss(_volume(**LAST_HAD), RELEASES, (_node("n2", pool=POOL),)),
        Outcome(Step.NOTE_NODE, node="n2/n2"),
    ),
    "its disk was lost, and moved to another node": (
        Loss(_volume(**LOST), RELEASES, (_node("n2", pool=POOL),), claim=BOUND),
        Outcome(Step.NOTE_RETURN),
    ),
    "its node has another UID, and the disk": (
        Loss(_volume(**LAST_HAD), RELEASES, (_node("n1", uid="b", pool=POOL),)),
        Outcome(Step.NOTE_NODE, node="n1/b"),
    ),
    "its disk is not mounted": (Loss(_volume(**LAST_HAD), RELEASES, (_node("n1"),)), Outcome(Step.NOTHING)),
    "only another of its disks is mounted": (
        dataclasses.replace(LONG_LOST, nodes=(_node("n1", pool="another"),)),
        Outcome(Step.NOTE_RETURN),
    ),
    "two nodes have the pool": (
        Loss(_volume(**LAST_HAD), RELEASES, (_node("n2", pool=POOL), _node("n3", pool=POOL))),
        Outcome(Step.NOTHING),
    ),
    "a copy is reported": (dataclasses.replace(LONG_LOST, reported=True), Outcome(Step.NOTE_RETURN)),
    "its driver still reports the pool": (
        Loss(_volume(**LAST_HAD), RELEASES, claim=BOUND, reported=True),
        Outcome(Step.WAIT, seconds=RECHECK_SECONDS),
    ),
    "its node was deleted": (Loss(_volume(**LAST_HAD), RELEASES, claim=BOUND), Outcome(Step.NOTE_LOSS)),
    "its claim was deleted before": (Loss(_volume(policy="Delete", **LAST_HAD), RELEASES), Outcome(Step.NOTHING)),
    "its claim was deleted before, and its policy is Retain": (
        Loss(_volume(**LAST_HAD), RELEASES),
        Outcome(Step.NOTE_LOSS),
    ),
    "the record cannot be read, and its claim was deleted": (
        Loss(_volume(policy="Delete", **LOST), RELEASES),
        Outcome(Step.NOTE_LOSS),
    ),
    "the record cannot be read": (dataclasses.replace(LONG_LOST, seconds=None), Outcome(Step.NOTE_LOSS)),
    "the grace period has not ended": (
        dataclasses.replace(LONG_LOST, seconds=100.0),
        Outcome(Step.WAIT, seconds=200.0),
    ),
    "the grace period has ended": (LONG_LOST, Outcome(Step.DELETE_CLAIM)),
    "no StatefulSet would recreate the claim": (dataclasses.replace(LONG_LOST, recreated=False), Outcome(Step.LEAVE)),
    "its pod needs another claim that waits": (dataclasses.replace(LONG_LOST, blocked_by="x"), Outcome(Step.LEAVE)),
    "the claim is being deleted": (
        dataclasses.replace(LONG_LOST, claim=dataclasses.replace(BOUND, deleting=True)),
        Outcome(Step.NOTHING),
    ),
    "the claim has another volume": (
        dataclasses.replace(LONG_LOST, claim=dataclasses.replace(BOUND, volume_name="other")),
        Outcome(Step.NOTHING),
    ),
    "the claim has no volume yet": (
        dataclasses.replace(LONG_LOST, claim=dataclasses.replace(BOUND, volume_name="")),
        Outcome(Step.NOTHING),
    ),
    "the claim was deleted": (dataclasses.replace(LONG_LOST, claim=None), Outcome(Step.DELETE_POD)),
    "the claim was recreated": (dataclasses.replace(LONG_LOST, claim=None, successor=True), Outcome(Step.RELEASE)),
    "the claim was deleted, and no StatefulSet recreates it": (
        dataclasses.replace(LONG_LOST, claim=None, recreated=False),
        Outcome(Step.NOTHING),
    ),
    "it was released": (
        dataclasses.replace(LONG_LOST, volume=_volume(**LOST, **{RELEASED: "x"})),
        Outcome(Step.NOTHING),
    ),
    "it has no claimRef": (
        dataclasses.replace(LONG_LOST, volume=dataclasses.replace(_volume(**LOST), claim_ref=None), claim=None),
        Outcome(Step.NOTHING),
    ),
    "its last node is unknown": (
        Loss(_volume(**{LOST_SINCE: "x"}), RELEASES, claim=BOUND, recreated=True, seconds=GRACE),
        Outcome(Step.NOTE_RETURN),
    ),
    "its node registered again, without the disk": (
        dataclasses.replace(LONG_LOST, nodes=(_node("n1", uid="b"),)),
        Outcome(Step.NOTE_RETURN),
    ),
    "another machine, with another disk, has the name": (
        dataclasses.replace(LONG_LOST, nodes=(_node("n1", uid="b", pool="another"),)),
        Outcome(Step.DELETE_CLAIM),
    ),
}


SCRATCH = dataclasses.replace(LONG_LOST, volume=_volume(policy="Delete", **LOST), claim=None)
"""A volume with policy Delete whose claim was deleted while the node was lost."""

RETURNED: dict[str, Loss] = {
    "its node": dataclasses.replace(SCRATCH, nodes=(_node("n1", pool=POOL),)),
    "its disk, in another node": dataclasses.replace(SCRATCH, nodes=(_node("n2", pool=POOL),)),
    "its node, without the disk": dataclasses.replace(SCRATCH, nodes=(_node("n1"),)),
    "a driver that reports it": dataclasses.replace(SCRATCH, reported=True),
    "no class": dataclasses.replace(SCRATCH, storage_class=None),
    "a class that waits": dataclasses.replace(SCRATCH, storage_class=WAITS),
    "a set that was scaled down, and its node": dataclasses.replace(
        SCRATCH, recreated=False, nodes=(_node("n1", pool=POOL),)
    ),
    "its node, before the record was read": dataclasses.replace(SCRATCH, nodes=(_node("n1", pool=POOL),), seconds=None),
}


@pytest.mark.parametrize("case", RETURNED)
def test_a_volume_whose_claim_was_deleted_is_retained_whatever_its_policy(case: str) -> None:
    """I3: the volume is released before the record of the loss is removed, once the claim's deletion has ended."""
    returned = RETURNED[case]
    deleting = dataclasses.replace(BOUND, deleting=True)

    assert Outcome(Step.RELEASE) == next_step(returned, grace=GRACE)
    assert Outcome(Step.NOTHING) == next_step(dataclasses.replace(returned, claim=deleting), grace=GRACE)
    assert Outcome(Step.NOTE_RETURN) == next_step(dataclasses.replace(returned, claim=BOUND), grace=GRACE)


@pytest.mark.parametrize("case", RETURNED)
def test_a_volume_with_policy_retain_stays_a_former_volume(case: str) -> None:
    """It was not released, so that a recreated claim adopts it."""
    returned = dataclasses.replace(RETURNED[case], volume=_volume(**LOST))

    assert Outcome(Step.NOTE_RETURN) == next_step(returned, grace=GRACE)


@pytest.mark.parametrize("case", STEPS)
def test_each_situation_of_a_lost_volume_has_its_step(case: str) -> None:
    """The step follows from the observed objects, and from the annotations of the volume."""
    seen, expected = STEPS[case]

    assert expected == next_step(seen, grace=GRACE)


nodes = st.builds(
    _node,
    st.sampled_from(["n1", "n2"]),
    uid=st.sampled_from(["n1", "n2", "b"]),
    pool=st.sampled_from(["", POOL, "another"]),
)
annotations = st.fixed_dictionaries(
    {LAST_NODE: st.sampled_from(["n1/n1", "n1/n1", "n2/b", "", "x", "/", "n1/"])},
    optional={LOST_SINCE: st.just("x")},
)
losses = st.builds(
    Loss,
    volume=annotations.map(lambda found: _volume(**found)),
    storage_class=st.sampled_from([RELEASES, RELEASES, WAITS, None]),
    nodes=st.lists(nodes, max_size=2).map(tuple),
    claim=st.sampled_from([BOUND, None]),
    successor=st.booleans(),
    recreated=st.booleans(),
    reported=st.sampled_from([False, False, True]),
    seconds=st.sampled_from([None, 0.0, GRACE - 1, GRACE, 2 * GRACE]),
)


@settings(max_examples=times(400))
@given(losses)
def test_nothing_is_deleted_or_released_while_the_node_may_return(seen: Loss) -> None:
    """Never while that Node exists or a node has the pool, before the grace period has ended, or against the class."""
    if next_step(seen, grace=GRACE).step not in {Step.DELETE_CLAIM, Step.DELETE_POD, Step.RELEASE}:
        return
    assert seen.storage_class is RELEASES
    assert seen.volume.annotations[LAST_NODE].partition("/")[2] not in {"", *(each.uid for each in seen.nodes)}
    assert not seen.reported
    assert not any(each.has_pool(POOL) for each in seen.nodes)
    assert seen.seconds is not None
    assert seen.seconds >= GRACE


@settings(max_examples=times(400))
@given(losses)
def test_no_step_allows_the_deletion_of_a_volume_whose_claim_was_deleted(seen: Loss) -> None:
    """I3: the record of the loss is removed from a volume with policy Delete only if it is released or has its claim."""
    lost = dataclasses.replace(seen.volume, reclaim_policy="Delete", annotations={**seen.volume.annotations, **LOST})
    without_claim = dataclasses.replace(seen, volume=lost, claim=None)

    assert Step.NOTE_RETURN is not next_step(without_claim, grace=GRACE).step
