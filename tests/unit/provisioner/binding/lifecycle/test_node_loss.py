"""A lost node: which claims wait, which are deleted, and which are never deleted."""

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
HAD_IT = {LAST_NODE: "n1/n1"}
LOST = HAD_IT | {LOST_SINCE: "2026-01-01T00:00:00Z"}
HELD = claim(uid="old", volume="pv", bound=True, phase="Bound")


def _volume(*, policy: str = "Retain", **annotations: str) -> Volume:
    made = volume(ref=("www-web-0", "old"), phase="Bound", policy=policy)
    return dataclasses.replace(made, annotations={**made.annotations, **annotations})


def _node(name: str, *, uid: str = "", pool: str = "") -> Node:
    """A node, with no pool unless one is named."""
    made = node(name, pool=pool or "x")
    labels = {key: value for key, value in made.labels.items() if pool or not key.startswith("pool.")}
    return dataclasses.replace(made, uid=uid or name, labels=labels)


LONG_LOST = Loss(_volume(**LOST), RELEASES, claim=HELD, recreated=True, seconds=GRACE)

STEPS: dict[str, tuple[Loss, Outcome]] = {
    # what was seen: what comes next
    "the class says Wait": (dataclasses.replace(LONG_LOST, storage_class=WAITS), Outcome(Step.NOTE_RETURN)),
    "the class is gone": (dataclasses.replace(LONG_LOST, storage_class=None), Outcome(Step.NOTE_RETURN)),
    "a class that waits gets no notes": (Loss(_volume(), WAITS, (_node("n1", pool=POOL),)), Outcome(Step.NOTHING)),
    "its node is there": (
        Loss(_volume(), RELEASES, (_node("n1", pool=POOL),)),
        Outcome(Step.NOTE_NODE, node="n1/n1"),
    ),
    "that is written down": (Loss(_volume(**HAD_IT), RELEASES, (_node("n1", pool=POOL),)), Outcome(Step.NOTHING)),
    "its disk moved": (
        Loss(_volume(**HAD_IT), RELEASES, (_node("n2", pool=POOL),)),
        Outcome(Step.NOTE_NODE, node="n2/n2"),
    ),
    "its disk was lost, and moved": (
        Loss(_volume(**LOST), RELEASES, (_node("n2", pool=POOL),), claim=HELD),
        Outcome(Step.NOTE_RETURN),
    ),
    "its node has another UID, and the disk": (
        Loss(_volume(**HAD_IT), RELEASES, (_node("n1", uid="b", pool=POOL),)),
        Outcome(Step.NOTE_NODE, node="n1/b"),
    ),
    "its disk is not mounted": (Loss(_volume(**HAD_IT), RELEASES, (_node("n1"),)), Outcome(Step.NOTHING)),
    "only another of its disks is mounted": (
        dataclasses.replace(LONG_LOST, nodes=(_node("n1", pool="another"),)),
        Outcome(Step.NOTE_RETURN),
    ),
    "two nodes have it": (
        Loss(_volume(**HAD_IT), RELEASES, (_node("n2", pool=POOL), _node("n3", pool=POOL))),
        Outcome(Step.NOTHING),
    ),
    "a copy is reported": (dataclasses.replace(LONG_LOST, reported=True), Outcome(Step.NOTE_RETURN)),
    "its driver still answers": (
        Loss(_volume(**HAD_IT), RELEASES, claim=HELD, reported=True),
        Outcome(Step.WAIT, seconds=RECHECK_SECONDS),
    ),
    "its node is gone": (Loss(_volume(**HAD_IT), RELEASES, claim=HELD), Outcome(Step.NOTE_LOSS)),
    "its claim was deleted before": (Loss(_volume(policy="Delete", **HAD_IT), RELEASES), Outcome(Step.NOTHING)),
    "its claim was deleted before, and it is kept anyway": (Loss(_volume(**HAD_IT), RELEASES), Outcome(Step.NOTE_LOSS)),
    "the note of what was let go cannot be read": (
        Loss(_volume(policy="Delete", **LOST), RELEASES),
        Outcome(Step.NOTE_LOSS),
    ),
    "the note cannot be read": (dataclasses.replace(LONG_LOST, seconds=None), Outcome(Step.NOTE_LOSS)),
    "not for long": (dataclasses.replace(LONG_LOST, seconds=100.0), Outcome(Step.WAIT, seconds=200.0)),
    "for long": (LONG_LOST, Outcome(Step.DELETE_CLAIM)),
    "nobody would make the claim anew": (dataclasses.replace(LONG_LOST, recreated=False), Outcome(Step.LEAVE)),
    "its pod needs another claim that waits": (dataclasses.replace(LONG_LOST, blocked_by="x"), Outcome(Step.LEAVE)),
    "the claim is going": (
        dataclasses.replace(LONG_LOST, claim=dataclasses.replace(HELD, deleting=True)),
        Outcome(Step.NOTHING),
    ),
    "the claim has another volume": (
        dataclasses.replace(LONG_LOST, claim=dataclasses.replace(HELD, volume_name="other")),
        Outcome(Step.NOTHING),
    ),
    "the claim has no volume yet": (
        dataclasses.replace(LONG_LOST, claim=dataclasses.replace(HELD, volume_name="")),
        Outcome(Step.NOTHING),
    ),
    "the claim is gone": (dataclasses.replace(LONG_LOST, claim=None), Outcome(Step.DELETE_POD)),
    "the claim was made anew": (dataclasses.replace(LONG_LOST, claim=None, successor=True), Outcome(Step.RELEASE)),
    "the claim is gone, and nobody wants it": (
        dataclasses.replace(LONG_LOST, claim=None, recreated=False),
        Outcome(Step.NOTHING),
    ),
    "it was released": (
        dataclasses.replace(LONG_LOST, volume=_volume(**LOST, **{RELEASED: "x"})),
        Outcome(Step.NOTHING),
    ),
    "it belongs to nobody": (
        dataclasses.replace(LONG_LOST, volume=dataclasses.replace(_volume(**LOST), claim_ref=None), claim=None),
        Outcome(Step.NOTHING),
    ),
    "who had it last is not known": (
        Loss(_volume(**{LOST_SINCE: "x"}), RELEASES, claim=HELD, recreated=True, seconds=GRACE),
        Outcome(Step.NOTE_RETURN),
    ),
    "its node registered anew, without the disk": (
        dataclasses.replace(LONG_LOST, nodes=(_node("n1", uid="b"),)),
        Outcome(Step.NOTE_RETURN),
    ),
    "another machine, with another disk, has the name": (
        dataclasses.replace(LONG_LOST, nodes=(_node("n1", uid="b", pool="another"),)),
        Outcome(Step.DELETE_CLAIM),
    ),
}


SCRATCH = dataclasses.replace(LONG_LOST, volume=_volume(policy="Delete", **LOST), claim=None)
"""Of a policy that deletes what no claim has; its claim went while the node was gone."""

BACK: dict[str, Loss] = {
    "its node": dataclasses.replace(SCRATCH, nodes=(_node("n1", pool=POOL),)),
    "its disk, in another node": dataclasses.replace(SCRATCH, nodes=(_node("n2", pool=POOL),)),
    "its node, without the disk": dataclasses.replace(SCRATCH, nodes=(_node("n1"),)),
    "a driver that reports it": dataclasses.replace(SCRATCH, reported=True),
    "no class": dataclasses.replace(SCRATCH, storage_class=None),
    "a class that waits": dataclasses.replace(SCRATCH, storage_class=WAITS),
    "a set that was scaled down, and its node": dataclasses.replace(
        SCRATCH, recreated=False, nodes=(_node("n1", pool=POOL),)
    ),
    "its node, soon": dataclasses.replace(SCRATCH, nodes=(_node("n1", pool=POOL),), seconds=None),
}


@pytest.mark.parametrize("case", BACK)
def test_what_was_let_go_is_kept_whatever_its_policy(case: str) -> None:
    """I3: nobody deleted that claim. Before the note of the loss goes the mark is there; a claim that is still going is awaited."""
    back = BACK[case]
    going = dataclasses.replace(HELD, deleting=True)

    assert Outcome(Step.RELEASE) == next_step(back, grace=GRACE)
    assert Outcome(Step.NOTHING) == next_step(dataclasses.replace(back, claim=going), grace=GRACE)
    assert Outcome(Step.NOTE_RETURN) == next_step(dataclasses.replace(back, claim=HELD), grace=GRACE)


@pytest.mark.parametrize("case", BACK)
def test_what_is_kept_anyway_is_its_ordinals_own_again(case: str) -> None:
    """The policy says Retain: it was not marked yet, so that a claim made anew finds it."""
    back = dataclasses.replace(BACK[case], volume=_volume(**LOST))

    assert Outcome(Step.NOTE_RETURN) == next_step(back, grace=GRACE)


@pytest.mark.parametrize("case", STEPS)
def test_a_lost_volume_is_let_go_in_steps(case: str) -> None:
    """Each step follows from what is there, and from what the volume itself says of before."""
    seen, expected = STEPS[case]

    assert expected == next_step(seen, grace=GRACE)


nodes = st.builds(
    _node,
    st.sampled_from(["n1", "n2"]),
    uid=st.sampled_from(["n1", "n2", "b"]),
    pool=st.sampled_from(["", POOL, "another"]),
)
notes = st.fixed_dictionaries(
    {LAST_NODE: st.sampled_from(["n1/n1", "n1/n1", "n2/b", "", "x", "/", "n1/"])},
    optional={LOST_SINCE: st.just("x")},
)
worlds = st.builds(
    Loss,
    volume=notes.map(lambda found: _volume(**found)),
    storage_class=st.sampled_from([RELEASES, RELEASES, WAITS, None]),
    nodes=st.lists(nodes, max_size=2).map(tuple),
    claim=st.sampled_from([HELD, None]),
    successor=st.booleans(),
    recreated=st.booleans(),
    reported=st.sampled_from([False, False, True]),
    seconds=st.sampled_from([None, 0.0, GRACE - 1, GRACE, 2 * GRACE]),
)


@settings(max_examples=times(400))
@given(worlds)
def test_nothing_is_let_go_of_a_node_that_may_come_back(seen: Loss) -> None:
    """Never while that Node is there, or anybody has the pool; never before its time; never unless the class says so."""
    if next_step(seen, grace=GRACE).step not in {Step.DELETE_CLAIM, Step.DELETE_POD, Step.RELEASE}:
        return
    assert seen.storage_class is RELEASES
    assert seen.volume.annotations[LAST_NODE].partition("/")[2] not in {"", *(each.uid for each in seen.nodes)}
    assert not seen.reported
    assert not any(each.has_pool(POOL) for each in seen.nodes)
    assert seen.seconds is not None
    assert seen.seconds >= GRACE


@settings(max_examples=times(400))
@given(worlds)
def test_no_step_makes_due_what_was_let_go(seen: Loss) -> None:
    """I3: whatever changes meanwhile, the note of the loss leaves a volume of policy Delete only with the mark, or its claim there."""
    lost = dataclasses.replace(seen.volume, reclaim_policy="Delete", annotations={**seen.volume.annotations, **LOST})
    gone = dataclasses.replace(seen, volume=lost, claim=None)

    assert Step.NOTE_RETURN is not next_step(gone, grace=GRACE).step
