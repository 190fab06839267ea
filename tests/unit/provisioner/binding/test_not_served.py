"""What no backend, class or node can give is said by the decision itself, before any driver is asked."""

from typing import Any

import pytest

from provisioner.binding.decide import decide
from provisioner.binding.decision import Action
from provisioner.binding.explain import explain_claim
from provisioner.model.names import FORGET
from tests.unit.provisioner.binding.adoption.test_evaluate import FORMER, facts
from tests.unit.provisioner.binding.objects import claim, node, pod, storage_class, volume

ZONE = [{"matchLabelExpressions": [{"key": "zone", "values": ["a", "b"]}]}]

NOT_SERVED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    # what: (the claim, the class, what is said)
    "class-modes": ({"modes": ("ReadWriteMany",)}, {}, "access mode ReadWriteMany"),
    "class-modes of several": (
        {"modes": ("ReadWriteOnce", "ReadOnlyMany")},
        {},
        "create the claim with one of those",
    ),
    "class-block": ({"mode": "Block"}, {}, "use a class with backend loop"),
    "class-no-node": (
        {},
        {"topologies": ZONE},
        "no node is in the allowedTopologies of StorageClass fast (zone in a|b)",
    ),
    "class-parameters": ({}, {"parameters": {"backend": "tape"}}, "choose one of directory, loop"),
}


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("what", NOT_SERVED)
def test_a_claim_that_nothing_can_serve_waits_and_says_so(what: str, waits: bool) -> None:
    """With the next step, in both binding modes, and nothing is said to be made."""
    asked, of_class, said = NOT_SERVED[what]
    selected: dict[str, Any] = {"node": "n1"} if waits and what != "class-no-node" else {}
    found = facts(claim=claim(**asked, **selected), storage_class=storage_class(waits=waits, **of_class), pods=(pod(),))

    decision = decide(found)
    assert (decision.action, [each.code for each in decision.reasons]) == (Action.WAIT, [what.split(maxsplit=1)[0]])
    assert said in explain_claim(found).message


def test_what_can_be_served_is_not_held_up() -> None:
    """Raw block by loop devices, both modes of one node, and a node in one of the topologies."""
    loop = storage_class(waits=False, parameters={"backend": "loop"})
    served = (
        facts(claim=claim(mode="Block"), storage_class=loop),
        facts(claim=claim(modes=("ReadWriteOnce", "ReadWriteOncePod")), storage_class=loop),
        facts(
            claim=claim(),
            storage_class=storage_class(waits=False, topologies=ZONE),
            nodes=(node(), node("m", zone="b")),
        ),
    )
    assert {Action.PROVISION} == {decide(each).action for each in served}


def test_a_former_volume_comes_first() -> None:
    """What it has, a backend need not be able to create now."""
    before = volume(**FORMER, modes=("ReadWriteOnce", "ReadWriteMany"))
    asks = claim(modes=("ReadWriteMany",))

    assert decide(facts(claim=asks, volumes=(before,))).action is Action.ADOPT
    asks.annotations[FORGET] = asks.uid  # type: ignore[index]
    assert decide(facts(claim=asks, volumes=(before,))).reasons[0].code == "class-modes"
